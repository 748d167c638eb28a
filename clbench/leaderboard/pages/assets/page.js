// Sorts, filters and links to a state: #sort=train_flops&dir=ascending&division=open&tier=validated&q=ewc
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const entries = new Map(data.entries.map((e) => [e.slug, e]));
  const rows = [...document.querySelectorAll("#table tbody tr[data-entry]")];
  const heads = [...document.querySelectorAll("#table thead th[data-key]")];
  const form = document.getElementById("controls");
  const marks = [...document.querySelectorAll("svg [data-entry]")];
  const legend = [...document.querySelectorAll(".legend button")];
  const panels = [...document.querySelectorAll("details.panel")];
  const first = { sort: data.primary, dir: "descending", division: "", tier: "", q: "" };
  const state = { ...first };
  const off = new Set(legend.filter((b) => b.getAttribute("aria-pressed") === "false").map((b) => b.dataset.entry));

  const value = (slug) => {
    const entry = entries.get(slug);
    return state.sort === "name" ? entry.name.toLowerCase() : entry.values[state.sort];
  };

  function compare(a, b) {
    const x = value(a.dataset.entry), y = value(b.dataset.entry);
    // What has no value comes last, whichever the direction.
    if (x == null || y == null) return (x == null) - (y == null);
    const order = x < y ? -1 : x > y ? 1 : 0;
    return state.dir === "ascending" ? order : -order;
  }

  function shows(slug) {
    const entry = entries.get(slug);
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    return (!state.division || entry.division === state.division)
      && (!state.tier || entry.tier === state.tier)
      && words.every((word) => entry.text.includes(word));
  }

  function draw() {
    for (const body of document.querySelectorAll("#table tbody")) {
      const own = rows.filter((row) => row.parentNode === body).sort(compare);
      body.append(...own);
      let seen = 0;
      for (const row of own) seen += !(row.hidden = !shows(row.dataset.entry));
      body.hidden = own.length > 0 && seen === 0;
    }
    for (const head of heads) {
      head.setAttribute("aria-sort", head.dataset.key === state.sort ? state.dir : "none");
    }
    for (const mark of marks) {
      const slug = mark.dataset.entry;
      const hidden = !shows(slug) || (mark.classList.contains("line") && off.has(slug));
      mark.toggleAttribute("data-off", hidden);
      if (hidden) mark.setAttribute("display", "none"); else mark.removeAttribute("display");
    }
    for (const front of document.querySelectorAll("[data-front]")) {
      const hidden = state.division && front.dataset.front !== state.division;
      if (hidden) front.setAttribute("display", "none"); else front.removeAttribute("display");
    }
    for (const button of legend) {
      button.parentNode.hidden = !shows(button.dataset.entry);
      button.setAttribute("aria-pressed", String(!off.has(button.dataset.entry)));
    }
    for (const panel of panels) panel.hidden = !shows(panel.dataset.entry);
    const count = rows.filter((row) => !row.hidden).length;
    form.elements.count.value = count === rows.length ? `${count} entries` : `${count} of ${rows.length} entries`;
  }

  function keep() {
    const resorted = state.sort !== first.sort || state.dir !== first.dir;
    const kept = Object.entries(state).filter(([key, v]) =>
      key === "sort" || key === "dir" ? resorted : v !== first[key]);
    const address = kept.length ? "#" + new URLSearchParams(kept) : location.pathname + location.search;
    history.replaceState(null, "", address);
  }

  function reveal() {
    const panel = location.hash.startsWith("#entry-") && document.getElementById(location.hash.slice(1));
    if (!panel) return false;
    panel.hidden = false;
    panel.open = true;
    panel.scrollIntoView({ block: "start" });
    panel.querySelector("summary").focus({ preventScroll: true });
    return true;
  }

  function read() {
    if (reveal()) return;
    const asked = new URLSearchParams(location.hash.slice(1));
    const head = heads.find((h) => h.dataset.key === asked.get("sort"));
    Object.assign(state, first);
    if (head) Object.assign(state, { sort: head.dataset.key, dir: head.dataset.first });
    if (["ascending", "descending"].includes(asked.get("dir"))) state.dir = asked.get("dir");
    for (const key of ["division", "tier", "q"]) {
      form.elements[key].value = asked.get(key) || "";
      state[key] = form.elements[key].value;
    }
    draw();
  }

  for (const head of heads) {
    head.querySelector("button").addEventListener("click", () => {
      const other = state.dir === "ascending" ? "descending" : "ascending";
      state.dir = state.sort === head.dataset.key ? other : head.dataset.first;
      state.sort = head.dataset.key;
      draw();
      keep();
    });
  }
  form.addEventListener("input", () => {
    for (const key of ["division", "tier", "q"]) state[key] = form.elements[key].value;
    draw();
    keep();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const button of legend) {
    const slug = button.dataset.entry;
    button.addEventListener("click", () => {
      if (!off.delete(slug)) off.add(slug);
      draw();
      mark(slug, !off.has(slug));
    });
    for (const [type, on] of [["mouseenter", 1], ["focus", 1], ["mouseleave", 0], ["blur", 0]]) {
      button.addEventListener(type, () => mark(slug, on && !off.has(slug)));
    }
  }
  for (const line of document.querySelectorAll(".line")) {
    line.addEventListener("mouseenter", () => mark(line.dataset.entry, true));
    line.addEventListener("mouseleave", () => mark(line.dataset.entry, false));
  }

  function mark(slug, on) {
    for (const line of document.querySelectorAll(".line")) {
      line.classList.toggle("hot", Boolean(on) && line.dataset.entry === slug);
      line.classList.toggle("cold", Boolean(on) && line.dataset.entry !== slug);
    }
  }

  form.hidden = false;
  addEventListener("hashchange", read);
  draw();
  read();
})();
