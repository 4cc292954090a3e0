// One client of `benchmarks.opcua`: npm's node-opcua, as benchmarks/opcua_reader.py.
//   node opcua_reader.js ITEMS      (NODE_PATH has node-opcua)
"use strict";
console.log = console.warn = console.info = console.error; // what node-opcua has to say is no answer
const readline = require("readline");
const opcua = require("node-opcua");
const items = Number(process.argv[2]);
const namespace = "urn:mumian:benchmark";
let values = 0;

async function follow(port) {
  const client = opcua.OPCUAClient.create({
    endpointMustExist: false,
    securityMode: opcua.MessageSecurityMode.None,
    securityPolicy: opcua.SecurityPolicy.None,
    keepSessionAlive: false,
    transportTimeout: 60000,
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

const say = (answer) => process.stdout.write(JSON.stringify(answer) + "\n");

async function main() {
  let before = 0, cpu, begin;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [word, ...ports] = line.split(" ");
    if (word === "follow") {
      const wanted = values + items * ports.length;
      await Promise.all(ports.map(follow));
      while (values < wanted) await new Promise((resolve) => setTimeout(resolve, 50));
      say(null);
    } else if (word === "begin") {
      before = values;
      cpu = process.cpuUsage();
      begin = process.hrtime.bigint();
      say(null);
    } else {
      const used = process.cpuUsage(cpu);
      const wall = Number(process.hrtime.bigint() - begin) / 1e9;
      say({ values: values - before, cpu_s: (used.user + used.system) / 1e6, wall_s: wall });
    }
  }
  process.exit(0);
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
