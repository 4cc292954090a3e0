"use strict";
// An OPC UA server that isn't ours. One JSON command a line on standard input, one JSON answer a line on standard output.
// Arguments: a JSON object {port, folder, certificate, key, trustClients}.
const { createRequire } = require("node:module");
const readline = require("node:readline");
const options = JSON.parse(process.argv[2]);
const load = createRequire(`${options.modules}/`);
const ua = load("node-opcua");

const SECURE = [ua.SecurityPolicy.Basic256Sha256, ua.SecurityPolicy.Aes128_Sha256_RsaOaep, ua.SecurityPolicy.Aes256_Sha256_RsaPss];
const LIMITS = {
  maxNodesPerRead: "i=11705",
  maxNodesPerBrowse: "i=11710",
  maxMonitoredItemsPerCall: "i=11714",
  maxNodesPerHistoryReadData: "i=12165",
};
const say = (answer) => process.stdout.write(`@${JSON.stringify(answer)}\n`);

let server;
let variables;
let space;
let own;
let folder;

const add = (name, dataType, value, more = {}) => {
  variables[name] = own.addVariable({
    organizedBy: folder,
    browseName: name,
    nodeId: `s=${name}`,
    dataType,
    value: { dataType: ua.DataType[dataType], value },
    ...more,
  });
};

// Read only after so many ms; a subscription's sampling waits for it, too.
const addSlow = (name, ms) => {
  variables[name] = own.addVariable({
    organizedBy: folder,
    browseName: name,
    nodeId: `s=${name}`,
    dataType: "Double",
    value: {
      timestamped_get: (answer) =>
        setTimeout(
          () =>
            answer(
              null,
              new ua.DataValue({
                value: { dataType: ua.DataType.Double, value: ms },
                sourceTimestamp: new Date(),
                statusCode: ua.StatusCodes.Good,
              }),
            ),
          ms,
        ),
    },
  });
};

async function start(port) {
  const manager = (name) =>
    new ua.OPCUACertificateManager({
      rootFolder: `${options.folder}/${name}`,
      automaticallyAcceptUnknownCertificate: options.trustClients,
    });
  server = new ua.OPCUAServer({
    port,
    hostname: "localhost",
    allowAnonymous: true,
    securityPolicies: [ua.SecurityPolicy.None, ...SECURE],
    securityModes: [ua.MessageSecurityMode.None, ua.MessageSecurityMode.Sign, ua.MessageSecurityMode.SignAndEncrypt],
    certificateFile: options.certificate,
    privateKeyFile: options.key,
    serverCertificateManager: manager("application"),
    userCertificateManager: manager("user"),
    userManager: { isValidUser: (name, password) => name === "gateway" && password === "s3cret" },
    serverInfo: { applicationUri: options.uri, productUri: "urn:test", applicationName: { text: "foreign" } },
    nodeset_filename: [ua.nodesets.standard],
    isAuditing: false,
  });
  await server.initialize();
  space = server.engine.addressSpace;
  own = space.registerNamespace("urn:mumian:test");
  folder = own.addFolder(space.rootFolder.objects, { browseName: "Plant" });
  variables = {};
  add("level", "Double", 1.5);
  add("count", "Int32", -7);
  add("kept", "Double", 0.5);
  variables.pressure = own.addAnalogDataItem({
    organizedBy: folder,
    browseName: "pressure",
    nodeId: "s=pressure",
    dataType: "Double",
    engineeringUnitsRange: { low: 0, high: 16 },
    engineeringUnits: ua.standardUnits.bar,
    value: { dataType: ua.DataType.Double, value: 4.2 },
  });
  space.installHistoricalDataNode(variables.kept, { maxOnlineValues: 10000 });
  await server.start();
}

const holds = (variable) => {
  const { value } = variable.readValue().value;
  return sessions()
    .flatMap((session) => session.publishEngine.subscriptions)
    .flatMap((subscription) => subscription._sent_notification_messages)
    .flatMap((message) => (message.notification || message).notificationData || [])
    .some((data) => (data.monitoredItems || []).some((item) => item.value.value.value === value));
};
const sessions = () => Object.values(server.engine._sessions);
const commands = {
  put: ({ name, values }) => {
    for (const [value, at] of values) {
      const kind = variables[name].readValue().value.dataType;
      variables[name].setValueFromSource({ dataType: kind, value }, ua.StatusCodes.Good, new Date(at));
    }
    return {};
  },
  add: ({ name, value }) => (add(name, "Double", value), {}),
  remove: ({ name }) => (space.deleteNode(variables[name]), {}),
  count: () => ({ sessions: server.engine.currentSessionCount, subscriptions: server.engine.currentSubscriptionCount }),
  // The session ends as by its timeout: its subscriptions live on.
  orphan: () => {
    for (const session of sessions()) server.engine.closeSession(session.authenticationToken, false, "Timeout");
    return {};
  },
  // The session ends with its subscriptions.
  end: () => {
    for (const session of sessions()) server.engine.closeSession(session.authenticationToken, true, "Terminated");
    return {};
  },
  // Everything is gone, as after a power cut, but the process.
  restart: async () => {
    const { port } = server.endpoints[0];
    await server.shutdown(0);
    await start(port);
    return {};
  },
  slow: ({ name, ms }) => (addSlow(name, ms), {}),
  // The variable is of another type from now on.
  retype: ({ name, type, value }) => (space.deleteNode(variables[name]), add(name, type, value), {}),
  // It says that it bears `said` nodes in a request, and bears `borne`.
  lie: ({ said, borne }) => {
    const limits = server.engine.serverCapabilities.operationLimits;
    for (const [name, node] of Object.entries(LIMITS)) {
      limits[name] = borne;
      const value = { dataType: ua.DataType.UInt32, value: said };
      space.findNode(node).bindVariable({ get: () => new ua.Variant(value) }, true);
    }
    return {};
  },
  // Ends like a power cut in the midst of the next Browse.
  die: () => {
    server.on("request", (request) => {
      if (request.schema.name === "BrowseRequest") process.kill(process.pid, "SIGKILL");
    });
    return {};
  },
  // Answers when a message with the present value of `kept` waits for an acknowledgement.
  sent: async () => {
    while (!holds(variables.kept)) await new Promise((resolve) => setTimeout(resolve, 5));
    return {};
  },
  // Forget the messages that wait for an acknowledgement.
  forget: () => {
    for (const session of sessions())
      for (const subscription of session.publishEngine.subscriptions) subscription._sent_notification_messages.length = 0;
    return {};
  },
};

async function main() {
  await start(options.port);
  say({ port: server.endpoints[0].port });
  readline.createInterface({ input: process.stdin }).on("line", async (line) => {
    try {
      const { command, ...given } = JSON.parse(line);
      say(await commands[command](given));
    } catch (error) {
      say({ error: String(error) });
    }
  }).on("close", () => process.exit(0));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
