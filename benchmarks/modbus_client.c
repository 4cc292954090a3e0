/* The reference: libmodbus reads 125 holding registers over and over, one request outstanding, which is all it can.
 *
 * Usage: modbus_client PORT REQUESTS; prints the CPU seconds (user and system) and the seconds that the requests took.
 */
#include <modbus/modbus.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static double cpu_s(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    uint16_t registers[125];
    if (argc != 3)
        return 2;
    long requests = atol(argv[2]);
    modbus_t *device = modbus_new_tcp("127.0.0.1", atoi(argv[1]));
    if (!device || modbus_connect(device))
        return 1;
    modbus_set_slave(device, 1);
    double cpu = cpu_s(), begin = now_s();
    for (long i = 0; i < requests; i++)
        if (modbus_read_registers(device, 0, 125, registers) != 125)
            return 1;
    printf("%.6f %.6f\n", cpu_s() - cpu, now_s() - begin);
    modbus_close(device);
    modbus_free(device);
    return 0;
}
