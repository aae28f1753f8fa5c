// A real OpenID provider for the tests: node provider.mjs DIR ISSUER, with oidc-provider below DIR (bin/setup installs it).
// It serves the listening socket that it is given as its standard input, and ends when who started it is gone.
//
// Who signs in says who they are: the login form takes claims as they are to be told. `decline` sends them back.

import { createRequire } from "node:module";
import http from "node:http";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [dir, issuer] = process.argv.slice(2);
const require = createRequire(path.join(dir, "package.json"));
const { default: Provider, interactionPolicy } = await import(pathToFileURL(require.resolve("oidc-provider")).href);

const accounts = new Map();
const redirectUri = "http://127.0.0.1/v1/auth/oidc/oidc/callback";

// Nobody is asked whether Kith may know who they are, native client or not.
const policy = interactionPolicy.base();
policy.get("consent").checks.remove("native_client_prompt");

const provider = new Provider(issuer, {
  clients: [{
    client_id: "kith",
    client_secret: "the secret of the client kith",
    redirect_uris: [redirectUri],
    // Kith's doors have ports of their own; a native client's may have any (RFC 8252, section 7.3).
    application_type: "native",
    response_types: ["code"],
    grant_types: ["authorization_code"],
  }],
  pkce: { required: () => true },
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  features: { devInteractions: { enabled: false } },
  interactions: { policy, url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ ...accounts.get(id), sub: id }) }),
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope("openid email profile");
    await grant.save();
    return grant;
  },
  cookies: { keys: ["for tests alone"] },
  ttl: { AccessToken: 600, AuthorizationCode: 600, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
});
provider.on("server_error", (_, error) => console.error(error));

const body = async (request) => {
  let text = "";
  for await (const piece of request) text += piece;
  return new URLSearchParams(text);
};

const serve = provider.callback();
const server = http.createServer(async (request, response) => {
  if (!request.url.startsWith("/interaction/")) return serve(request, response);
  try {
    if (request.method !== "POST") {
      await provider.interactionDetails(request, response);
      return response.end("who are you?");
    }
    const said = await body(request);
    const claims = JSON.parse(said.get("claims") ?? "{}");
    accounts.set(claims.sub, claims);
    const result = said.has("decline")
      ? { error: "access_denied", error_description: "they would rather not" }
      : { login: { accountId: claims.sub } };
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error.stack ?? error));
  }
});
server.listen({ fd: 0 }, () => console.log("serving"));

const parent = process.ppid;
setInterval(() => process.ppid !== parent && process.exit(), 500).unref?.();
