"""Reads Kith's answers with the models of datamodel-code-generator, which makes no client: `kith_agentcrm` and `kith_relm`."""

import os
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import kith_agentcrm
import kith_relm


def plain(value):
    """The value itself: the models wrap a value that has one of several types."""
    return getattr(value, "root", value)


def call(models, key, values_of_email, answer, record, code):
    """Makes the calls.

    `values_of_email` is the parameter that takes a list of addresses, and `answer` the end of the names of answers
    with one record. `record` takes the record out of an answer, and `code` takes the code out of an error.
    """

    def send(shape, method, path, body=None):
        """Sends a model, and reads the answer as the model named `shape`."""
        content = None if body is None else body.model_dump_json(exclude_unset=True).encode()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        try:
            with urlopen(Request(os.environ["KITH_BASE"] + path, content, headers, method=method)) as reply:
                found = reply.read()
        except HTTPError as error:
            found = error.read()
        return getattr(models, shape).model_validate_json(found)

    name = models.__name__
    made = [
        record(send("Contact" + answer, "POST", "/v1/contacts", models.ContactCreate(email=email, first_name="Ada")))
        for email in [f"{name}-{n}@example.org" for n in range(3)]
    ]
    ids = [contact.id for contact in made]

    page = send("ContactPage", "GET", "/v1/contacts?limit=2")
    assert len(page.data) == 2 and all(isinstance(contact, models.Contact) for contact in page.data), page
    values = quote(f"{made[0].email},{made[2].email}")
    page = send("ContactPage", "GET", f"/v1/contacts?{quote(values_of_email)}={values}")
    assert {contact.id for contact in page.data} == {ids[0], ids[2]}, page

    got = record(send("ContactDetail" + answer, "GET", f"/v1/contacts/{ids[0]}"))
    assert not got.company and got.created_at.year > 2000, got
    changed = record(send("Contact" + answer, "PATCH", f"/v1/contacts/{ids[0]}", models.ContactPatch(title="CTO")))
    assert changed.title == "CTO", changed

    body = models.SavedListCreate(name=name, target_table="contacts", kind="static")
    static = record(send("SavedList" + answer, "POST", "/v1/lists", body))
    members = f"/v1/lists/{static.id}/members"
    one = plain(send("AddListMembersAnswer", "POST", members, models.NewMembers.model_validate({"member_id": ids[0]})))
    assert plain(record(one)).member_id == ids[0], one
    several = plain(send("AddListMembersAnswer", "POST", members, models.NewMembers.model_validate({"member_ids": ids})))
    assert {member.member_id for member in plain(several.data)} == set(ids), several

    deleted = record(send("Deleted" + answer, "DELETE", f"/v1/contacts/{ids[2]}"))
    assert deleted.id == ids[2], deleted
    assert code(send("NotFoundError", "GET", f"/v1/contacts/{ids[2]}")) == "not_found"
    wrong = models.ContactCreate(company_id=ids[0])
    assert code(send("InvalidReferenceError", "POST", "/v1/contacts", wrong)) == "invalid_reference"

    found = [plain(hit) for hit in send("FoundRecordPage", "GET", "/v1/search?q=Ada").data]
    assert ids[0] in {hit.id for hit in found}, found


call(
    kith_agentcrm,
    os.environ["KITH_KEY_AGENTCRM"],
    "email",
    "Answer",
    lambda answer: answer.data,
    lambda fault: fault.error,
)
call(
    kith_relm,
    os.environ["KITH_KEY_RELM"],
    "filter[email][in]",
    "",
    lambda answer: answer,
    lambda fault: fault.error.code,
)
