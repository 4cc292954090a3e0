/* A Modbus server on libmodbus (Debian's libmodbus-dev), for reading by an independent implementation.
 *
 * Without arguments: TCP. Listens on 127.0.0.1 at a free port, prints the port, serves one connection after another until its standard
 * input is closed. With a serial port and a unit: RTU, 115200 8N1; prints 0 once the port is open, and is silent to other units.
 * Floats are laid into the registers word by word: what modbus_set_float_abcd() and its sisters do with the bytes has changed between
 * versions of libmodbus.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BITS = 40, INPUT_BITS = 40, REGISTERS = 200, INPUT_REGISTERS = 20 };

static void fill(modbus_mapping_t *map)
{
    for (int i = 0; i < BITS; i++)
        map->tab_bits[i] = i % 3 == 0;
    for (int i = 0; i < INPUT_BITS; i++)
        map->tab_input_bits[i] = i % 5 == 0;
    for (int i = 0; i < INPUT_REGISTERS; i++)
        map->tab_input_registers[i] = (uint16_t)(1000 + i);
    uint16_t *r = map->tab_registers;
    int32_t wide = -123456789;
    int64_t wider = -1234567890123456789LL;
    static const uint16_t floats[8] = {
        0x47F1, 0x2000, /* 123456.0, ABCD */
        0xCCCD, 0xBDCC, /* -0.1, CDAB */
        0x5040, 0x0000, /* 3.25, BADC */
        0x6F12, 0x833A, /* 0.001, DCBA */
    };
    memcpy(r, floats, sizeof floats);
    MODBUS_SET_INT32_TO_INT16(r, 8, wide);
    MODBUS_SET_INT64_TO_INT16(r, 10, wider);
    r[14] = 0xFFFE;
    r[150] = 77;
}

static int until_readable(int socket)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(STDIN_FILENO, &set);
    FD_SET(socket, &set);
    if (select(socket + 1, &set, NULL, NULL, NULL) < 0 || FD_ISSET(STDIN_FILENO, &set))
        return 0;
    return 1;
}

static int serve_tcp(modbus_t *ctx, modbus_mapping_t *map)
{
    int listener = modbus_tcp_listen(ctx, 1);
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    if (listener < 0 || getsockname(listener, (struct sockaddr *)&address, &size) < 0) {
        fprintf(stderr, "listen: %s\n", modbus_strerror(errno));
        return 1;
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    while (until_readable(listener)) {
        int client = modbus_tcp_accept(ctx, &listener);
        uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
        while (client >= 0 && until_readable(client)) {
            int length = modbus_receive(ctx, query);
            if (length < 0)
                break;
            if (length > 0)
                modbus_reply(ctx, query, length, map);
        }
        modbus_close(ctx);
    }
    return 0;
}

static int serve_rtu(modbus_t *ctx, modbus_mapping_t *map, int unit)
{
    uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
    modbus_set_byte_timeout(ctx, 0, 20000);
    if (modbus_set_slave(ctx, unit) < 0 || modbus_connect(ctx) < 0) {
        fprintf(stderr, "connect: %s\n", modbus_strerror(errno));
        return 1;
    }
    printf("0\n");
    fflush(stdout);
    while (until_readable(modbus_get_socket(ctx))) {
        int length = modbus_receive(ctx, query);
        if (length > 0)
            modbus_reply(ctx, query, length, map);
        else if (length < 0)
            modbus_flush(ctx); /* libmodbus reads a function that it doesn't know as a frame without data. */
    }
    modbus_close(ctx);
    return 0;
}

int main(int count, char **words)
{
    modbus_t *ctx = count > 2 ? modbus_new_rtu(words[1], 115200, 'N', 8, 1) : modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *map = modbus_mapping_new(BITS, INPUT_BITS, REGISTERS, INPUT_REGISTERS);
    if (ctx == NULL || map == NULL)
        return 1;
    fill(map);
    int code = count > 2 ? serve_rtu(ctx, map, atoi(words[2])) : serve_tcp(ctx, map);
    modbus_mapping_free(map);
    modbus_free(ctx);
    return code;
}
