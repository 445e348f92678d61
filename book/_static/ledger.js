// The ledger's filter. Without a script the page shows every entry, closed.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector(".ledger-filter");
  if (!form) return;
  const entries = [...document.querySelectorAll("details.ledger-entry")];
  const texts = entries.map((entry) => entry.textContent.toLowerCase());
  const count = form.querySelector("output");

  function filter() {
    const words = form.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const area = form.area.value, method = form.method.value;
    let shown = 0;
    entries.forEach((entry, number) => {
      const has = (name) => entry.classList.contains(name);
      entry.hidden = !(
        words.every((word) => texts[number].includes(word)) &&
        (!area || has("in-" + area)) &&
        (!method || has("for-" + method) || has("for-all")) &&
        (!form.measured.checked || has("measured-yes"))
      );
      shown += !entry.hidden;
    });
    for (const section of document.querySelectorAll("section section")) {
      const inside = [...section.querySelectorAll("details.ledger-entry")];
      section.hidden = inside.length > 0 && inside.every((entry) => entry.hidden);
    }
    count.textContent = `${shown} of ${entries.length} points`;
  }

  function openTarget() {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.matches("details")) target.open = true;
  }

  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.open.addEventListener("click", () => {
    const open = entries.some((entry) => !entry.hidden && !entry.open);
    entries.forEach((entry) => { if (!entry.hidden) entry.open = open; });
    form.open.textContent = open ? "Close all" : "Open all";
  });
  window.addEventListener("hashchange", openTarget);
  filter();
  openTarget();
});
