// Works in Airflow's iframe, whose theme it takes over, and opened by itself.
const shell = (() => { try { return parent === window ? null : parent.document; } catch { return null; } })();
const TOKENS = { bg: "bg", fg: "fg", muted: "fg-muted", edge: "border", panel: "bg-panel", alert: "fg-error" };

function dress() {
  const theirs = getComputedStyle(shell.documentElement), ours = document.documentElement;
  for (const theme of ["light", "dark"]) ours.classList.toggle(theme, shell.documentElement.classList.contains(theme));
  for (const [name, token] of Object.entries(TOKENS)) ours.style.setProperty(`--${name}`, theirs.getPropertyValue(`--chakra-colors-${token}`) || "initial");
}
if (shell) { dress(); new MutationObserver(dress).observe(shell.documentElement, { attributeFilter: ["class", "style"] }); }

// The iframe may not navigate what is around it: a link of the page around it may.
addEventListener("click", (event) => {
  const link = event.target.closest("a[data-airflow]");
  if (!shell || !link) return;
  event.preventDefault();
  Object.assign(shell.createElement("a"), { href: link.href, target: event.ctrlKey || event.metaKey ? "_blank" : "" }).click();
});

setInterval(async () => {
  const main = document.querySelector("main");
  if (document.hidden || !document.querySelector("[data-refresh]") || main.contains(document.activeElement)) return;
  const answer = await fetch(location.href).then((got) => got.text()).catch(() => null);
  const fresh = answer && new DOMParser().parseFromString(answer, "text/html").querySelector("main");
  if (fresh) main.replaceWith(fresh);
}, 15_000);
