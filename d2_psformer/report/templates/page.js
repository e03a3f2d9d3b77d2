"use strict";
const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const normal = (text) => text.normalize("NFKC").toLowerCase();

// Tables: a heading sorts, numbers from the largest on at first; cells without a value stay last.
for (const table of all("table.sortable")) {
  for (const button of all("thead button", table)) {
    button.addEventListener("click", () => sortBy(table, button.closest("th")));
  }
}

function sortBy(table, heading) {
  const isNumber = heading.classList.contains("number");
  const before = heading.getAttribute("aria-sort");
  const ascending = before ? before === "descending" : !isNumber;
  all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const body = table.tBodies[0];
  const keyed = [...body.rows].map((row) => [keyOf(row.cells[heading.cellIndex], isNumber), row]);
  const sign = ascending ? 1 : -1;
  keyed.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (isNumber ? a - b : a.localeCompare(b));
  });
  body.append(...keyed.map(([, row]) => row));
}

function keyOf(cell, isNumber) {
  if (!isNumber) return cell.textContent.trim();
  return cell.dataset.value ? Number(cell.dataset.value) : null;
}

const classFilter = find("#class-filter");
const onlyPresent = find("#only-present"); // null where all classes occur

function filterClasses() {
  const wanted = normal(classFilter.value.trim());
  const rows = all("#class-table tbody tr");
  for (const row of rows) {
    const text = row.cells[0].textContent + " " + row.cells[1].textContent;
    const isLeftOut = onlyPresent?.checked && "absent" in row.dataset;
    row.hidden = isLeftOut || !normal(text).includes(wanted);
  }
  find("#no-class").hidden = rows.some((row) => !row.hidden);
}
classFilter.addEventListener("input", filterClasses);
onlyPresent?.addEventListener("input", filterClasses);

// Gallery: each card shows one layer, all of them change together by the list above.
const cards = all(".card");
const imageFilter = find("#image-filter");
const group = find("#group");
const layer = find("#layer");

function show(card, name) {
  for (const image of all("img", card)) image.hidden = image.dataset.layer !== name;
  for (const radio of all("input", card)) radio.checked = radio.value === name;
}

function layerOf(card) {
  return find("input:checked", card).value;
}

function filterCards() {
  const wanted = normal(imageFilter.value.trim());
  for (const card of cards) {
    const classes = JSON.parse(card.dataset.classes).map(normal);
    const isClass = classNames.has(wanted);
    const fits = isClass
      ? classes.includes(wanted)
      : [card.dataset.name, ...classes].some((text) => normal(text).includes(wanted));
    const inGroup = !group.value || card.dataset.groups.split("|").includes(group.value);
    card.hidden = !(fits && inGroup);
  }
  const count = cards.filter((card) => !card.hidden).length;
  find("#shown").textContent = `${count} of ${cards.length} shown`;
  find("#no-image").hidden = count > 0;
}

const classNames = new Set(all("#class-names option").map((option) => normal(option.value)));
for (const card of cards) {
  show(card, layer.value);
  card.addEventListener("change", (event) => show(card, event.target.value));
  find(".picture", card).addEventListener("click", () => enlarge(card));
}
layer.addEventListener("change", () => cards.forEach((card) => show(card, layer.value)));
imageFilter.addEventListener("input", filterCards);
group.addEventListener("change", filterCards);
for (const link of all("[data-class]")) {
  link.addEventListener("click", () => {
    imageFilter.value = link.dataset.class;
    group.value = "";
    filterCards();
  });
}
filterCards();

// The large picture: arrows go through the cards that are shown, figures through the layers.
const dialog = find("#large");
let current = null;

function enlarge(card) {
  current = card;
  const chosen = layerOf(card);
  const image = find(`img[data-layer="${chosen}"]`, card);
  find("#large-picture").src = image.src;
  find("#large-picture").alt = image.alt;
  find("#large-name").textContent = card.dataset.name;
  const buttons = all("input", card).map((radio, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = radio.value;
    button.title = `key ${place + 1}`;
    button.setAttribute("aria-pressed", radio.value === chosen);
    button.addEventListener("click", () => choose(radio.value));
    return button;
  });
  find("#large-layers").replaceChildren(...buttons);
  if (!dialog.open) dialog.showModal();
}

function choose(name) {
  show(current, name);
  enlarge(current);
  find('#large-layers [aria-pressed="true"]').focus();
}

function step(distance) {
  const shown = cards.filter((card) => !card.hidden);
  const chosen = layerOf(current);
  const next = shown[(shown.indexOf(current) + distance + shown.length) % shown.length];
  show(next, chosen);
  enlarge(next);
}

for (const button of all("[data-step]")) {
  button.addEventListener("click", () => step(Number(button.dataset.step)));
}
find("#close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
dialog.addEventListener("close", () => find(".picture", current).focus());
dialog.addEventListener("keydown", (event) => {
  const radios = all("input", current);
  if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
  else if (radios[Number(event.key) - 1]) choose(radios[Number(event.key) - 1].value);
});
