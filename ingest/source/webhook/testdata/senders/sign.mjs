// Signs events with the libraries of those who send them. Reads one JSON object
// a line: {"scheme", "secret", "id", "time", "body"}; writes the headers, one
// object a line.
import {createRequire} from "node:module";
import {createInterface} from "node:readline";
import path from "node:path";
import process from "node:process";

// The packages lie where they were installed, which is not beside this file.
const require = createRequire(path.join(process.cwd(), "package.json"));
const stripe = new (require("stripe"))("sk_test_none");
const svix = require("svix");
const standard = require("standardwebhooks");
const octokit = await import(path.join(process.cwd(), "node_modules/@octokit/webhooks-methods/dist-node/index.js"));

const sign = {
  async stripe({secret, time, body}) {
    return {"Stripe-Signature": stripe.webhooks.generateTestHeaderString({payload: body, secret, timestamp: time})};
  },
  async svix({secret, id, time, body}) {
    return {"svix-id": id, "svix-timestamp": String(time), "svix-signature": new svix.Webhook(secret).sign(id, new Date(time * 1000), body)};
  },
  async standard({secret, id, time, body}) {
    return {"webhook-id": id, "webhook-timestamp": String(time), "webhook-signature": new standard.Webhook(secret).sign(id, new Date(time * 1000), body)};
  },
  async github({secret, id, body}) {
    return {"X-Hub-Signature-256": await octokit.sign(secret, body), "X-GitHub-Delivery": id, "X-GitHub-Event": "push"};
  },
};

for await (const line of createInterface({input: process.stdin})) {
  const event = JSON.parse(line);
  console.log(JSON.stringify(await sign[event.scheme](event)));
}
