// Sorts and filters the arms; keeps the state in the address: #sort=forgetting&dir=ascending&scenario=x&q=ewc
"use strict";
(() => {
  const arms = new Map(Object.entries(JSON.parse(document.getElementById("data").textContent).arms));
  const table = document.querySelector("table.sorted");
  const heads = [...table.querySelectorAll("thead th[data-key]")];
  const form = document.getElementById("controls");
  const legend = [...document.querySelectorAll(".legend button")];
  const marks = [...document.querySelectorAll("svg [data-arm]")];
  const others = [...document.querySelectorAll("tr[data-arm], details.panel")];
  const first = { sort: "world_accuracy", dir: "descending", scenario: "", q: "" };
  const state = { ...first };
  const off = new Set(legend.filter((b) => b.getAttribute("aria-pressed") === "false").map((b) => b.dataset.arm));

  const value = (id) => (state.sort === "name" ? arms.get(id).name : arms.get(id).values[state.sort]);

  function compare(a, b) {
    const x = value(a.dataset.arm), y = value(b.dataset.arm);
    // What has no value comes last, whichever the direction.
    if (x == null || y == null) return (x == null) - (y == null);
    const order = x < y ? -1 : x > y ? 1 : 0;
    return state.dir === "ascending" ? order : -order;
  }

  function shows(id) {
    const arm = arms.get(id);
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    return (!state.scenario || arm.scenario === state.scenario) && words.every((w) => arm.text.includes(w));
  }

  function draw() {
    for (const body of table.querySelectorAll("tbody")) {
      body.append(...[...body.querySelectorAll("tr[data-arm]")].sort(compare));
    }
    for (const one of others) one.hidden = !shows(one.dataset.arm);
    for (const body of table.querySelectorAll("tbody")) {
      body.hidden = !body.querySelector("tr[data-arm]:not([hidden])");
    }
    for (const section of document.querySelectorAll("section[data-scenario]")) {
      const own = [...section.querySelectorAll("[data-arm]")];
      section.hidden = !own.some((one) => shows(one.dataset.arm));
    }
    for (const head of heads) head.setAttribute("aria-sort", head.dataset.key === state.sort ? state.dir : "none");
    for (const mark of marks) {
      const hidden = !shows(mark.dataset.arm) || (mark.classList.contains("line") && off.has(mark.dataset.arm));
      if (hidden) mark.setAttribute("display", "none"); else mark.removeAttribute("display");
    }
    for (const button of legend) {
      button.parentNode.hidden = !shows(button.dataset.arm);
      button.setAttribute("aria-pressed", String(!off.has(button.dataset.arm)));
    }
    const n = [...arms.keys()].filter(shows).length;
    form.elements.count.value = (n === arms.size ? `${n}` : `${n} of ${arms.size}`) + (arms.size === 1 ? " arm" : " arms");
  }

  function keep() {
    const resorted = state.sort !== first.sort || state.dir !== first.dir;
    const kept = Object.entries(state).filter(([key, v]) => (key === "sort" || key === "dir" ? resorted : v !== first[key]));
    history.replaceState(null, "", kept.length ? "#" + new URLSearchParams(kept) : location.pathname + location.search);
  }

  function read() {
    const target = arms.has(location.hash.slice(1)) && document.getElementById(location.hash.slice(1));
    if (target) {
      target.hidden = false;
      target.open = true;
      target.scrollIntoView({ block: "start" });
      return;
    }
    const asked = new URLSearchParams(location.hash.slice(1));
    const head = heads.find((h) => h.dataset.key === asked.get("sort"));
    Object.assign(state, first);
    if (head) Object.assign(state, { sort: head.dataset.key, dir: head.dataset.first });
    if (["ascending", "descending"].includes(asked.get("dir"))) state.dir = asked.get("dir");
    for (const key of ["scenario", "q"]) {
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
    for (const key of ["scenario", "q"]) state[key] = form.elements[key].value;
    draw();
    keep();
  });
  form.addEventListener("submit", (event) => event.preventDefault());

  function mark(id, on) {
    for (const line of document.querySelectorAll(".line[data-arm]")) {
      line.classList.toggle("hot", Boolean(on) && line.dataset.arm === id);
    }
  }
  for (const button of legend) {
    const id = button.dataset.arm;
    button.addEventListener("click", () => {
      if (!off.delete(id)) off.add(id);
      draw();
      mark(id, !off.has(id));
    });
    for (const [type, on] of [["mouseenter", 1], ["focus", 1], ["mouseleave", 0], ["blur", 0]]) {
      button.addEventListener(type, () => mark(id, on && !off.has(id)));
    }
  }

  form.hidden = false;
  addEventListener("hashchange", read);
  draw();
  read();
})();
