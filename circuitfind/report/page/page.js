// What the page of a circuit does, beside what every page does (base.js).
(() => {
  // The diagram: pointing shows a site, clicking keeps it.
  const diagram = byId("diagram");
  const nodes = told.circuit.sites.map((_, number) => diagram.querySelector(`#node-${number}`));
  const arrows = all("[id^=edge-]", diagram);
  nodes.forEach((node) => node?.classList.add("member"));
  arrows.forEach((arrow) => arrow.classList.add("edge"));
  let kept = null;

  function show(number) {
    byId("overview").hidden = number !== null;
    all("article.site").forEach((panel) => {
      const mine = panel.id === `site-${number}`;
      panel.hidden = !mine;
      panel.classList.toggle("kept", mine && number === kept);
    });
    nodes.forEach((node, index) => {
      node?.classList.toggle("shown", index === number);
      node?.classList.toggle("left-out", index === kept);
      node?.setAttribute("aria-pressed", String(index === kept));
    });
    diagram.classList.toggle("chosen", number !== null);
    const mine = number === null ? [] : all(`#site-${number} [data-edge]`);
    const edges = new Set(mine.map((row) => `edge-${row.dataset.edge}`));
    arrows.forEach((arrow) => arrow.classList.toggle("shown", edges.has(arrow.id)));
  }

  function keep(number) {
    kept = number;
    show(number);
  }

  function go(number) {
    nodes.forEach((node, index) => node?.setAttribute("tabindex", index === number ? "0" : "-1"));
    nodes[number]?.focus();
  }

  const present = nodes.map((node, number) => number).filter((number) => nodes[number]);
  present.forEach((number, place) => {
    const node = nodes[number];
    node.setAttribute("tabindex", place === 0 ? "0" : "-1");
    node.setAttribute("role", "button");
    node.setAttribute("aria-label", `${told.circuit.sites[number].site}: what is known of it`);
    node.setAttribute("aria-controls", `site-${number}`);
    node.addEventListener("pointerenter", () => show(number));
    node.addEventListener("pointerleave", () => show(kept));
    node.addEventListener("focus", () => show(number));
    node.addEventListener("blur", () => show(kept));
    node.addEventListener("click", () => keep(kept === number ? null : number));
    node.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (step) go(present[(place + step + present.length) % present.length]);
      else if (event.key === "Enter" || event.key === " ") keep(kept === number ? null : number);
      else if (event.key === "Escape") keep(null);
      else return;
      event.preventDefault();
    });
  });
  all("[data-pick]").forEach((button) => {
    const number = Number(button.dataset.pick);
    button.addEventListener("click", () => {
      keep(number);
      byId(`site-${number}`).querySelector("[data-back]").focus();
    });
    button.addEventListener("pointerenter", () => nodes[number]?.classList.add("shown"));
    button.addEventListener("pointerleave", () => nodes[number]?.classList.remove("shown"));
  });
  all("[data-back]").forEach((button) => button.addEventListener("click", () => {
    const from = kept;
    keep(null);
    document.querySelector(`[data-pick="${from}"]`)?.focus();
  }));
  show(null);

  // Tabs, as WAI-ARIA describes them: one tab stop, arrows go round.
  const tabs = all("[role=tab]");
  const select = (tab) => tabs.forEach((other) => {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
    byId(other.getAttribute("aria-controls")).hidden = other !== tab;
  });
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", (event) => {
      const last = tabs.length - 1;
      const next = {
        ArrowRight: place === last ? 0 : place + 1, ArrowLeft: place === 0 ? last : place - 1,
        Home: 0, End: last,
      }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      select(tabs[next]);
      tabs[next].focus();
    });
  });
  if (tabs.length) select(tabs[0]);

  // Downloads.
  byId("save-circuit").addEventListener("click", () =>
    save("circuit.json", JSON.stringify(told.circuit, null, 2) + "\n", "application/json"));
  byId("save-figure").addEventListener("click", () => saveDrawing("circuit.svg", diagram));

  // Review: a list of decisions, saved as a file that `circuitfind review` reads.
  const form = byId("decide");
  const field = (name) => form.elements.namedItem(name); // form.action is the form's own
  const decisions = [];
  const known = new Set(told.sites);

  // Which of its site's decisions a withdrawal takes back; null for all.
  function withdrawn(action) {
    return action === "withdraw" ? form.dataset.withdraw || null : null;
  }

  function needsValue() {
    delete form.dataset.withdraw;
    const wanted = ["name", "group"].includes(field("action").value);
    form.querySelector(".value").hidden = !wanted;
    field("value").required = wanted;
  }

  function list() {
    byId("decisions").replaceChildren(...decisions.map((one) => {
      const row = document.createElement("li");
      const site = document.createElement("b");
      const words = document.createElement("span");
      const remove = document.createElement("button");
      site.textContent = one.site;
      words.textContent = `${one.action}${one.value ? ` “${one.value}”` : ""}: ${one.reason}`;
      remove.type = "button";
      remove.textContent = "Remove";
      remove.setAttribute("aria-label", `Remove: ${one.action} ${one.site}`);
      remove.addEventListener("click", () => {
        decisions.splice(decisions.indexOf(one), 1);
        list();
      });
      row.append(site, words, remove);
      return row;
    }));
  }

  function problemWith(made) {
    const whole = made.action === "withdraw" && made.site === "verdict";
    if (!whole && !known.has(made.site)) {
      const such = told.sites.length ? `, such as ${told.sites[0]}` : "";
      return `“${made.site}” is no site: this run could choose from ${known.size}${such}`;
    }
    if (!made.reason) return "say why: a reason is needed";
    const opposite = { pin: "veto", veto: "pin" }[made.action];
    const other = (one) => one.site === made.site && one.action === opposite;
    return decisions.some(other) ? `${made.site} is under ${opposite} already: remove that first` : "";
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const action = field("action").value;
    const value = ["name", "group"].includes(action) ? field("value").value.trim() : withdrawn(action);
    const made = { site: field("site").value.trim(), action, value, reason: field("reason").value.trim() };
    const problem = problemWith(made);
    form.querySelector(".problem").textContent = problem;
    if (problem) return;
    const same = decisions.findIndex((one) => one.site === made.site && one.action === action
      && (action !== "withdraw" || one.value === value));
    decisions.splice(same < 0 ? decisions.length : same, same < 0 ? 0 : 1, made);
    list();
    form.reset();
    needsValue();
    field("site").focus();
  });
  field("action").addEventListener("change", needsValue);
  all("[data-decide]").forEach((button) => button.addEventListener("click", () => {
    field("site").value = button.dataset.decide;
    const part = button.dataset.withdraw; // which decision, on a button that takes one back
    if (part !== undefined) field("action").value = "withdraw";
    needsValue();
    if (part) form.dataset.withdraw = part;
    field(part === undefined ? "action" : "reason").focus();
    form.scrollIntoView({ block: "center" });
  }));
  byId("save-decisions").addEventListener("click", () => {
    const verdict = document.querySelector("[name=verdict]:checked").value || null;
    const by = byId("by").value.trim();
    const problem = !by ? "say who decides: your name is needed"
      : !verdict && !decisions.length ? "nothing is decided yet" : "";
    byId("save-problem").textContent = problem;
    if (problem) return;
    const made = {
      format: "circuitfind-decisions/1", circuit: told.digest, verdict, decisions, by,
      when: new Date().toISOString(),
    };
    save("decisions.json", JSON.stringify(made, null, 2) + "\n", "application/json");
  });
})();
