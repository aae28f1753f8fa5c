# Verifies a webhook's payload with the PyPI package `standardwebhooks`. Input: JSON with headers, body and secrets. Prints
# "verified".
import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

given = json.load(sys.stdin)
for secret in given["standard"]:
    Webhook(secret).verify(given["body"], given["headers"])
try:
    Webhook(given["standard"][0]).verify(given["body"] + " ", given["headers"])
except WebhookVerificationError:
    print("verified")
