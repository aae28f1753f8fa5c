"""Calls Kith with the clients of openapi-python-client: `kith_agentcrm` and `kith_relm`, which bin/clients generates."""

import os
import typing
from importlib import import_module

base = os.environ["KITH_BASE"]


def call(package, key, values_of_email, record, code):
    """Makes the calls.

    `values_of_email` is the parameter that takes a list of addresses. `record` takes the record out of an answer,
    and `code` takes the code out of an error: agentCRM and Relm wrap them differently.
    """
    models = import_module(f"{package}.models")
    client = import_module(package).AuthenticatedClient(base_url=base, token=key, raise_on_unexpected_status=True)

    def send(operation, *path, **rest):
        return import_module(f"{package}.api.{operation}").sync(*path, client=client, **rest)

    made = [
        record(
            send("contacts.create_contact", body=models.ContactCreate(email=f"{package}-{n}@example.net", first_name="Ada"))
        )
        for n in range(3)
    ]
    ids = [contact.id for contact in made]
    assert all(isinstance(contact, models.Contact) for contact in made), made

    page = send("contacts.list_contacts", limit=2)
    assert isinstance(page, models.ContactPage) and len(page.data) == 2, page
    assert all(isinstance(contact, models.Contact) for contact in page.data), page

    page = send("contacts.list_contacts", **{values_of_email: [made[0].email, made[2].email]})
    assert isinstance(page, models.ContactPage), page
    assert {contact.id for contact in page.data} == {ids[0], ids[2]}, page

    got = record(send("contacts.get_contact", ids[0]))
    assert isinstance(got, models.ContactDetail) and not got.company and got.created_at.year > 2000, got

    changed = record(send("contacts.update_contact", ids[0], body=models.ContactPatch(title="CTO")))
    assert isinstance(changed, models.Contact) and changed.title == "CTO", changed

    kind = models.SavedListCreateKind.STATIC
    static = record(send("lists.create_list", body=models.SavedListCreate(name=package, target_table="contacts", kind=kind)))
    assert isinstance(static, models.SavedList) and static.kind == "static", static
    add = import_module(f"{package}.api.lists.add_list_members").sync
    one_member, several_members = typing.get_args(typing.get_type_hints(add)["body"])
    one = send("lists.add_list_members", static.id, body=one_member(member_id=ids[0]))
    assert record(one).member_id == ids[0], one
    several = send("lists.add_list_members", static.id, body=several_members(member_ids=ids))
    assert {member.member_id for member in several.data} == set(ids), several

    deleted = record(send("contacts.delete_contact", ids[2]))
    assert deleted.id == ids[2], deleted

    missing = send("contacts.get_contact", ids[2])
    assert isinstance(missing, models.NotFoundError) and code(missing) == "not_found", missing
    refusal = send("contacts.create_contact", body=models.ContactCreate(company_id=ids[0]))
    assert isinstance(refusal, models.InvalidReferenceError) and code(refusal) == "invalid_reference", refusal

    found = send("search.search", q="Ada")
    assert ids[0] in {hit.id for hit in found.data}, found
    assert not any(isinstance(hit, dict) for hit in found.data), found


call(
    "kith_agentcrm",
    os.environ["KITH_KEY_AGENTCRM"],
    "email",
    lambda answer: answer.data,
    lambda fault: fault.error,
)
call(
    "kith_relm",
    os.environ["KITH_KEY_RELM"],
    "filteremailin",
    lambda answer: answer,
    lambda fault: fault.error.code,
)
