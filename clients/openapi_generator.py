"""Calls Kith with the Python clients of openapi-generator: `kith_agentcrm` and `kith_relm`, which bin/clients generates."""

import os

import kith_agentcrm
import kith_relm

base = os.environ["KITH_BASE"]


def call(kith, key, values_of_email, record, code):
    """Makes the calls.

    `values_of_email` is the parameter that takes a list of addresses. `record` takes the record out of an answer,
    and `code` takes the code out of an error: agentCRM and Relm wrap them differently.
    """
    models = kith.models
    api = kith.ApiClient(kith.Configuration(host=base, access_token=key))
    contacts, lists, search = kith.ContactsApi(api), kith.ListsApi(api), kith.SearchApi(api)
    name = kith.__name__

    made = [
        record(contacts.create_contact(models.ContactCreate(email=f"{name}-{n}@example.com", first_name="Ada")))
        for n in range(3)
    ]
    ids = [contact.id for contact in made]
    assert all(isinstance(contact, models.Contact) for contact in made), made

    page = contacts.list_contacts(limit=2)
    assert isinstance(page, models.ContactPage) and len(page.data) == 2, page
    assert all(isinstance(contact, models.Contact) for contact in page.data), page

    page = contacts.list_contacts(**{values_of_email: [made[0].email, made[2].email]})
    assert {contact.id for contact in page.data} == {ids[0], ids[2]}, page

    got = record(contacts.get_contact(ids[0]))
    assert isinstance(got, models.ContactDetail) and not got.company and got.created_at.year > 2000, got

    changed = record(contacts.update_contact(ids[0], models.ContactPatch(title="CTO")))
    assert isinstance(changed, models.Contact) and changed.title == "CTO", changed

    static = record(lists.create_list(models.SavedListCreate(name=name, target_table="contacts", kind="static")))
    assert isinstance(static, models.SavedList) and static.kind == "static", static
    one = plain(lists.add_list_members(static.id, models.NewMembers.from_dict({"member_id": ids[0]})))
    assert plain(record(one)).member_id == ids[0], one
    several = plain(lists.add_list_members(static.id, models.NewMembers.from_dict({"member_ids": ids})))
    assert {member.member_id for member in plain(several.data)} == set(ids), several

    deleted = record(contacts.delete_contact(ids[2]))
    assert plain(deleted.id) == ids[2], deleted

    try:
        contacts.get_contact(ids[2])
        raise AssertionError("a deleted contact is found")
    except kith.exceptions.NotFoundException as error:
        assert isinstance(error.data, models.NotFoundError) and code(error.data) == "not_found", error.data
    try:
        contacts.create_contact(models.ContactCreate(company_id=ids[0]))
        raise AssertionError("a contact is accepted as a company")
    except kith.exceptions.UnprocessableEntityException as error:
        refusal = plain(error.data)
        assert isinstance(refusal, models.InvalidReferenceError) and code(refusal) == "invalid_reference", refusal

    found = search.search("Ada")
    assert ids[0] in {plain(hit).id for hit in found.data}, found


def plain(value):
    """The value itself: openapi-generator wraps a value that has one of several types."""
    return getattr(value, "actual_instance", value)


call(
    kith_agentcrm,
    os.environ["KITH_KEY_AGENTCRM"],
    "email",
    lambda answer: answer.data,
    lambda fault: fault.error,
)
call(
    kith_relm,
    os.environ["KITH_KEY_RELM"],
    "filter_email_in",
    lambda answer: answer,
    lambda fault: fault.error.code,
)
