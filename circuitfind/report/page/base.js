// What every page does: all it shows is in the page already, and nothing is fetched.
"use strict";
const all = (query, within = document) => [...within.querySelectorAll(query)];
const byId = (id) => document.getElementById(id);
const told = JSON.parse(byId("data").textContent);
document.documentElement.classList.add("live");

// Copies and downloads.
const say = (words) => { byId("said").textContent = words; };

function save(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`${name} is saved`);
}

function saveDrawing(name, drawing) {
  const text = new XMLSerializer().serializeToString(drawing)
    .replace(/var\(--[\w-]+, ?(#[0-9a-f]{6})\)/g, "$1"); // the page's colours are not in a file
  save(name, text, "image/svg+xml");
}

all("[data-copy]").forEach((button) => button.addEventListener("click", async () => {
  const from = byId(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(from.textContent);
    say("copied");
  } catch {
    getSelection().selectAllChildren(from); // where a browser forbids it: select it, to be copied
    say("selected: copy it with your keyboard");
  }
}));

// In print all is unfolded.
let folded = [];
addEventListener("beforeprint", () => {
  folded = all("details:not([open])").filter((one) => !one.classList.contains("rows"));
  folded.forEach((one) => { one.open = true; });
});
addEventListener("afterprint", () => folded.forEach((one) => { one.open = false; }));
