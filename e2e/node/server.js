// A third-party OPC UA server (node-opcua) with the tags of one bottling line,
// for end-to-end tests: server.js '<options as JSON>'. It prints one JSON line
// when it is ready and one for everything that really happened on the line.
//
// options: port, dir (certificates), line, user, password, anonymous, insecure
// (offers policy None as well), and those of line.js.
"use strict";

const path = require("path");
const opcua = require("node-opcua");
const { Line } = require("./line.js");

const NAMESPACE = "urn:plantloom:demo:plant";
const HISTORY = 20000; // values kept per variable

// name -> data type; "rw" where clients write.
const TAGS = {
  State: ["Int32"], Speed: ["Double"], "Cnt.Good": ["UInt16"], "Cnt.Scrap": ["UInt16"],
  "Order.No": ["String"], "Order.Operation": ["String"], "Order.Good": ["UInt32"], "Order.Scrap": ["UInt32"],
  "Order.Done": ["Boolean"], "Order.AckNo": ["String", "rw"],
  "Cmd.OrderNo": ["String", "rw"], "Cmd.Operation": ["String", "rw"], "Cmd.Target": ["UInt32", "rw"], "Cmd.Material": ["String", "rw"],
  "Cmd.FillVolume": ["Double", "rw"], "Cmd.CapTorque": ["Double", "rw"], "Cmd.Load": ["Boolean", "rw"],
  "Cmd.Loaded": ["Boolean"], "Cmd.Refused": ["Boolean"], "Cmd.ErrNo": ["Int32"],
  "Cap.Ready": ["Boolean"], "Cap.Serial": ["String"], "Cap.Torque": ["Double"], "Cap.AckSerial": ["String", "rw"],
};

const print = (record) => process.stdout.write(JSON.stringify(record) + "\n");

async function main() {
  const opts = Object.assign({
    line: "L1", user: "plantloom", password: "plantloom", anonymous: false, insecure: false,
    rate: 10, scrapEvery: 10, firstGood: 65500, firstScrap: 65530, orders: [], capEvery: 15, maxTarget: 60000,
  }, JSON.parse(process.argv[2]));
  const server = await start(opts);
  const variables = {};
  const line = new Line(opts, (name, value, at, bad) => publish(variables[name], value, at, bad),
    (record) => print({ line: opts.line, ...record }), Date.now);
  build(server, opts, variables, line);
  line.boot();
  await server.start();
  print({ event: "ready", endpoint: `opc.tcp://127.0.0.1:${opts.port}`, certificate: server.certificateFile, pid: process.pid });
  // Nobody waits for open sessions: a client sees a server that went away.
  const stop = () => server.shutdown(0).then(() => process.exit(0), () => process.exit(1));
  process.on("SIGTERM", stop);
  process.stdin.on("end", stop).resume(); // the test that started us is gone
}

async function start(opts) {
  const certificates = async (name) => {
    const m = new opcua.OPCUACertificateManager({ rootFolder: path.join(opts.dir, name), automaticallyAcceptUnknownCertificate: true });
    await m.initialize();
    return m;
  };
  const { SecurityPolicy: policy, MessageSecurityMode: mode } = opcua;
  const server = new opcua.OPCUAServer({
    port: opts.port, hostname: "127.0.0.1",
    serverCertificateManager: await certificates("server"),
    userCertificateManager: await certificates("user"),
    allowAnonymous: opts.anonymous,
    securityPolicies: opts.insecure ? [policy.None, policy.Basic256Sha256] : [policy.Basic256Sha256],
    securityModes: opts.insecure ? [mode.None, mode.SignAndEncrypt] : [mode.SignAndEncrypt],
    userManager: { isValidUser: (user, password) => user === opts.user && password === opts.password },
    maxConnectionsPerEndpoint: 50,
    serverInfo: { applicationUri: "urn:plantloom:e2e:node-opcua", productUri: "plantloom-e2e", applicationName: { text: "Plantloom e2e" } },
    buildInfo: { productName: "plantloom-e2e", buildNumber: "1", buildDate: new Date(0) },
  });
  await server.initialize();
  return server;
}

function build(server, opts, variables, line) {
  const space = server.engine.addressSpace;
  const ns = space.registerNamespace(NAMESPACE);
  const root = ns.addObject({ organizedBy: space.rootFolder.objects, browseName: opts.line, nodeId: `s=${opts.line}` });
  for (const [name, [type, write]] of Object.entries(TAGS)) {
    const access = "CurrentRead | HistoryRead" + (write ? " | CurrentWrite" : "");
    const v = ns.addVariable({
      componentOf: root, browseName: `${opts.line}.${name}`, nodeId: `s=${opts.line}.${name}`, dataType: type,
      minimumSamplingInterval: 0, // changes are reported as they come, not sampled
      accessLevel: access, userAccessLevel: access,
    });
    space.installHistoricalDataNode(v, { maxOnlineValues: HISTORY });
    v.plantloomType = opcua.DataType[type];
    variables[name] = v;
    if (write) listen(v, (value) => line.written(name, value));
  }
}

// listen calls fn for what clients write, not for what the line publishes.
function listen(v, fn) {
  v.on("value_changed", (data) => {
    if (!v.plantloomOwn) setImmediate(fn, data.value.value);
  });
}

function publish(v, value, at, bad) {
  const codes = opcua.StatusCodes;
  const status = { bad: codes.BadSensorFailure, uncertain: codes.UncertainLastUsableValue }[bad] || codes.Good;
  v.plantloomOwn = true;
  v.setValueFromSource({ dataType: v.plantloomType, value }, status, at);
  v.plantloomOwn = false;
}

main().catch((err) => {
  process.stderr.write(`${err.stack}\n`);
  process.exit(1);
});
