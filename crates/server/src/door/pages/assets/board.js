// The board of deals: cards are moved by dragging, by Shift and the arrows, and by a menu. A move is sent at once; the card keeps
// the focus.
import { $, $$, alarm, api, el, icon, mayWrite, on, onSubmit, refresh, toast } from "./core.js";
import { prepare, sent } from "./fields.js";

on("change", "[data-pipeline]", (it) => it.form.requestSubmit());

const lanes = () => $$("[data-board] > .lane");
const laneOf = (card) => card.closest(".lane");
const label = (lane) => lane.dataset.label;
const cardOf = (id) => $(`.card[data-id="${CSS.escape(id)}"]`);
const focus = (id) => {
  const card = cardOf(id);
  card?.focus({ focusVisible: true });
  card?.scrollIntoView({ block: "nearest", inline: "nearest" });
};

// One move is sent after the other, so that a quick second one of the same card is the last.
let moves = Promise.resolve(), waiting = 0;
const move = (card, lane) => {
  if (!mayWrite || !lane || lane === laneOf(card)) return;
  const { id, name } = card.dataset, stage = lane.dataset.stage, to = label(lane);
  $(".cards", lane).prepend(card);
  card.focus({ focusVisible: true });
  waiting += 1;
  moves = moves.then(async () => {
    let failure, requestId;
    try { ({ requestId } = await api("PATCH", "deals/" + encodeURIComponent(id), { stage })); } catch (error) { failure = error; }
    waiting -= 1;
    if (waiting && !failure) return;
    const isThere = document.activeElement === document.body || document.activeElement?.closest(".card")?.dataset.id === id;
    await refresh().catch(() => {});
    if (isThere) focus(id);
    if (failure) alarm(failure); else toast(`“${name}” is in ${to}.`, { undo: requestId });
  });
};

on("keydown", ".card", (card, event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.shiftKey && step) {
    const all = lanes();
    move(card, all[all.indexOf(laneOf(card)) + step]);
    event.preventDefault();
  } else if (event.target === card && event.key === "Enter") {
    $("a.name", card).click();
  } else if (event.target === card && !event.shiftKey && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    const all = $$(".card", laneOf(card));
    (all[all.indexOf(card) + (event.key === "ArrowDown" ? 1 : -1)] ?? card).focus();
    event.preventDefault();
  }
});

// -- The menu of a card: made when it is first opened --

let numbers = 0;
on("click", "[data-move]", (button) => {
  if (button.hasAttribute("popovertarget")) return;
  const id = `stages-${++numbers}`, card = button.closest(".card"), here = laneOf(card);
  const menu = el("div", { class: "menu", id, popover: "auto", role: "menu", "aria-label": "Move to" }, ...lanes().map((lane) => {
    const item = el("button", { type: "button", role: "menuitem", "aria-disabled": lane === here ? "true" : null }, label(lane), lane === here ? icon("check") : null);
    item.addEventListener("click", () => {
      menu.hidePopover();
      move(card, lane);
      if (lane === here) card.focus();
    });
    return item;
  }));
  card.append(menu);
  // The browser opens it now, because the button's own act comes after this.
  button.setAttribute("popovertarget", id);
});
// A menu belongs to the stage that the card was in.
document.addEventListener("toggle", (event) => {
  const menu = event.target;
  if (!menu.matches?.(".card > .menu") || event.newState !== "closed") return;
  $(`[popovertarget="${menu.id}"]`)?.removeAttribute("popovertarget");
  menu.remove();
}, true);

// -- Dragging --

let dragged;
on("dragstart", ".card", (card, event) => {
  dragged = card;
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", card.dataset.name);
  card.classList.add("drag");
});
const leave = () => lanes().forEach((lane) => lane.classList.remove("over"));
on("dragover", ".lane", (lane, event) => {
  if (!dragged) return;
  event.preventDefault();
  if (lane.classList.contains("over")) return;
  leave();
  lane.classList.add("over");
});
on("drop", ".lane", (lane, event) => {
  if (!dragged) return;
  event.preventDefault();
  leave();
  move(dragged, lane);
});
on("dragend", ".card", (card) => {
  card.classList.remove("drag");
  leave();
  dragged = undefined;
});

// -- A new deal --

document.addEventListener("opened", (event) => {
  const form = $("[data-new-deal]", event.target);
  if (form) prepare(form);
});
on("click", "[data-new-deal] [data-cancel]", (it) => it.closest("dialog").close());
onSubmit("[data-new-deal]", (form) => sent(form, { onlyChanges: false }, async (body) => {
  const { data, requestId } = await api("POST", "deals", body);
  form.closest("dialog").close();
  await refresh();
  focus(data.id);
  toast(`“${data.name ?? data.id}” was created.`, { undo: requestId });
}));
