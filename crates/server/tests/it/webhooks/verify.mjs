// Verifies a webhook's payload as its receivers do: with the snippet of Relm's documentation, and with the npm package
// `standardwebhooks`. Input: JSON with headers, body and the secrets, by library. Prints "verified".
import crypto from "node:crypto";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { Webhook } = createRequire(`${process.argv[2]}/`)("standardwebhooks");
const { headers, body: rawBody, relm, standard } = JSON.parse(readFileSync(0, "utf8"));
const req = { headers };

for (const secret of relm) {
  const [t, v1] = req.headers["relm-signature"].split(",").map(p => p.split("=")[1]);
  const expected = crypto.createHmac("sha256", secret).update(`${t}.${rawBody}`).digest("hex");
  if (!crypto.timingSafeEqual(Buffer.from(expected), Buffer.from(v1))) throw new Error("bad sig");
}
for (const secret of standard) {
  new Webhook(secret).verify(rawBody, headers);
}
let refused = false;
try {
  new Webhook(standard[0]).verify(`${rawBody} `, headers);
} catch {
  refused = true;
}
if (!refused) throw new Error("a changed body was verified");
console.log("verified");
