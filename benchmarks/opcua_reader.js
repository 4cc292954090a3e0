// One client of `benchmarks.opcua`: npm's node-opcua, as benchmarks/opcua_reader.py.
//   node opcua_reader.js ITEMS SECONDS PORT...      (NODE_PATH has node-opcua)
"use strict";
const opcua = require("node-opcua");
const [items, seconds, ...ports] = process.argv.slice(2).map(Number);
const namespace = "urn:mumian:benchmark";
let values = 0;

async function follow(port) {
  const client = opcua.OPCUAClient.create({
    endpointMustExist: false,
    securityMode: opcua.MessageSecurityMode.None,
    securityPolicy: opcua.SecurityPolicy.None,
    keepSessionAlive: false,
  });
  await client.connect(`opc.tcp://127.0.0.1:${port}`);
  const session = await client.createSession();
  const index = (await session.readNamespaceArray()).indexOf(namespace);
  const subscription = await session.createSubscription2({
    requestedPublishingInterval: 1000,
    requestedLifetimeCount: 600,
    requestedMaxKeepAliveCount: 10,
    maxNotificationsPerPublish: 1000,
    publishingEnabled: true,
  });
  for (let start = 0; start < items; start += 500) {
    const nodes = [];
    for (let number = start; number < Math.min(start + 500, items); number++) {
      nodes.push({ nodeId: `ns=${index};i=${number + 1}`, attributeId: opcua.AttributeIds.Value });
    }
    const parameters = { samplingInterval: 100, discardOldest: true, queueSize: 100 };
    const group = opcua.ClientMonitoredItemGroup.create(subscription, nodes, parameters, opcua.TimestampsToReturn.Source);
    group.on("changed", () => values++);
    await new Promise((resolve) => group.on("initialized", resolve));
  }
}

async function main() {
  await Promise.all(ports.map(follow));
  while (values < items * ports.length) await new Promise((resolve) => setTimeout(resolve, 50));
  const before = values;
  const cpu = process.cpuUsage();
  const begin = process.hrtime.bigint();
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  const used = process.cpuUsage(cpu);
  const wall = Number(process.hrtime.bigint() - begin) / 1e9;
  const found = { values: values - before, cpu_s: (used.user + used.system) / 1e6, wall_s: wall };
  process.stdout.write(JSON.stringify(found), () => process.exit(0));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
