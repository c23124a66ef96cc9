// Live updates: cards appear and disappear without a reload, the tab's title shows their number,
// a notification announces new ones, and bulk runs show their progress. Everything else works
// without this file.
"use strict";

(() => {
  // The path below which the pages of this account are.
  const root = document.body.dataset.root;
  const cards = document.getElementById("cards");
  const arrivals = document.getElementById("arrivals");
  const badge = document.getElementById("count");
  const notify = document.getElementById("notify");
  const notified = document.getElementById("notified");
  const MINUTE = 60, HOUR = 3600, DAY = 86400;
  // Longer than the five seconds after which the browser reconnects a stream that the server ended.
  const OFFLINE_AFTER_MS = 12000;
  const ANNOUNCED_FOR_MS = 10000;
  let announcement = 0;
  // The newest approval when this page was rendered: later ones cause a notification.
  let newest = Number(badge?.dataset.newest ?? 0);
  const live = document.getElementById("live");
  // The HTML of each part as the server sent it: an opened form changes the document's own.
  const parts = new Map([...(live?.children ?? [])].map((part) => [part.id, part.outerHTML]));

  const shown = () => [...cards.querySelectorAll("article[data-number]")];
  const numberOf = (card) => Number(card.dataset.number);

  function announce(text) {
    arrivals.textContent = text;
    clearTimeout(announcement);
    announcement = setTimeout(() => arrivals.replaceChildren(), ANNOUNCED_FOR_MS);
  }

  function showCount(count) {
    const plain = document.title.replace(/^\(\d+\) /, "");
    document.title = count ? `(${count}) ${plain}` : plain;
    if (!badge) return;
    badge.textContent = String(count);
    badge.hidden = !count;
  }

  // Notifications contain the number only: a locked screen may show them.
  function notifyOfNew(last) {
    const isNew = last > newest;
    newest = last;
    if (!isNew || !("Notification" in window) || Notification.permission !== "granted") return;
    const text = `Approve or decline number ${last}.`;
    const note = new Notification("New pending approval", { body: text, tag: `kartra-mcp-${last}` });
    note.onclick = () => {
      window.focus();
      location.assign(`${root}/#approval-${last}`);
    };
  }

  function offerNotifications() {
    if (!notify || !("Notification" in window)) return;
    showNotificationState();
    notify.onclick = async () => {
      await Notification.requestPermission();
      showNotificationState();
      if (notify.hidden) document.getElementById("main").focus();
    };
  }

  function showNotificationState() {
    const text = {
      granted: "Notifications are on while this tab is open.",
      denied:
        "Your browser blocks notifications of this page. Allow them in its settings for this " +
        "address. The tab's title shows the number of pending approvals.",
      default: "",
    }[Notification.permission];
    notify.hidden = Notification.permission !== "default";
    notified.hidden = !text;
    if (notified.textContent !== text) notified.textContent = text;
  }

  // Cards that remain are not replaced: the user may be typing into them.
  function updateCards(fresh) {
    const before = new Map(shown().map((card) => [numberOf(card), card]));
    const after = [...fresh.querySelectorAll("article[data-number]")];
    const wanted = new Set(after.map(numberOf));
    const gone = [...before.keys()].filter((number) => !wanted.has(number));
    const added = after.filter((card) => !before.has(numberOf(card)));
    const hadFocus = gone.some((number) => before.get(number).contains(document.activeElement));
    gone.forEach((number) => before.get(number).remove());
    const empty = cards.querySelector(".empty");
    if (empty) empty.remove();
    if (!after.length) cards.append(...fresh.childNodes);
    after.forEach((card, place) => {
      if (before.has(numberOf(card))) return;
      card.classList.add("arrived");
      cards.insertBefore(card, shown()[place] ?? null);
    });
    if (hadFocus) document.getElementById("main").focus();
    announceChanges(added, gone);
  }

  function announceChanges(added, gone) {
    const sentences = [];
    if (added.length === 1)
      sentences.push(`New pending approval: ${added[0].querySelector("h2").textContent}.`);
    if (added.length > 1) sentences.push(`${added.length} new pending approvals.`);
    if (gone.length === 1) sentences.push(`Number ${gone[0]} is no longer pending.`);
    if (gone.length > 1) sentences.push(`${gone.length} approvals are no longer pending.`);
    if (sentences.length) announce(sentences.join(" "));
  }

  // The part above the cards is replaced only if it changed: the user may be typing a PIN into it.
  function updateStanding(fresh) {
    const before = document.getElementById("standing");
    fresh.remove();
    if (fresh.dataset.key === before.dataset.key) return;
    const hadFocus = before.contains(document.activeElement);
    before.replaceWith(fresh);
    if (hadFocus) document.getElementById("main").focus();
  }

  // One fetch at a time; a call meanwhile causes one more afterwards.
  function makeFetcher(path, show) {
    let fetching = false;
    let again = false;
    return async function update() {
      again = fetching;
      if (fetching) return;
      fetching = true;
      try {
        const answer = await fetch(path, { cache: "no-store" });
        if (!answer.ok) return;
        showOnline(true);
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body;
        document.adoptNode(fresh);
        show(fresh);
      } catch {
        showOnline(false);
      } finally {
        fetching = false;
        if (again) update();
      }
    };
  }

  // A part is replaced only if the server changed it. A link that had the focus keeps it.
  function updateParts(fresh) {
    for (const part of [...fresh.children]) {
      const before = document.getElementById(part.id);
      const html = part.outerHTML;
      if (!before || parts.get(part.id) === html) continue;
      parts.set(part.id, html);
      announceRun(before, part);
      const focused = before.contains(document.activeElement) ? document.activeElement : null;
      before.replaceWith(part);
      if (focused) findSame(part, focused).focus();
    }
  }

  function findSame(part, focused) {
    const href = focused.getAttribute("href");
    const same = href && [...part.querySelectorAll("a")].find((a) => a.getAttribute("href") === href);
    return same || document.getElementById("main");
  }

  function announceRun(before, part) {
    const { state, announcement } = part.dataset;
    if (announcement && state !== before.dataset.state) announce(announcement);
  }

  function onPending(event) {
    const { count, numbers, newest: last } = JSON.parse(event.data);
    showOnline(true);
    showCount(count);
    notifyOfNew(last ?? 0);
    if (!cards) return;
    const here = shown().map(numberOf);
    const same = here.length === numbers.length && here.every((n) => numbers.includes(n));
    if (!same || hasStanding()) update();
  }

  const hasStanding = () => document.getElementById("standing")?.children.length > 0;
  const update = makeFetcher(`${root}/cards`, (fresh) => {
    updateStanding(fresh.querySelector("#standing"));
    updateCards(fresh);
  });
  const updateLive = live && makeFetcher(live.dataset.source, updateParts);

  function showOnline(isOnline) {
    const before = document.getElementById("offline");
    if (isOnline && before) before.remove();
    if (isOnline || before) return;
    const alert = document.createElement("p");
    alert.id = "offline";
    alert.setAttribute("role", "alert");
    alert.textContent =
      "This page no longer receives updates: its server has ended, or your session has expired. " +
      document.body.dataset.offline;
    document.getElementById("main").prepend(alert);
  }

  function listen() {
    let lost = 0;
    const source = new EventSource(`${root}/events`);
    source.addEventListener("waiting", onPending);
    if (updateLive) source.addEventListener("bulk", updateLive);
    source.onopen = () => {
      clearTimeout(lost);
      lost = 0;
      showOnline(true);
    };
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) showOnline(false);
      else if (!lost) lost = setTimeout(() => showOnline(false), OFFLINE_AFTER_MS);
    };
    addEventListener("pagehide", () => source.close());
    addEventListener("pageshow", (event) => event.persisted && location.reload());
  }

  function formatDuration(seconds) {
    const left = Math.max(Math.floor(seconds), 0);
    if (left < MINUTE) return "less than a minute";
    if (left < HOUR) return `${Math.floor(left / MINUTE)} min`;
    if (left < 2 * DAY) return `${Math.floor(left / HOUR)} h ${Math.floor((left % HOUR) / MINUTE)} min`;
    return `${Math.floor(left / DAY)} days`;
  }

  function updateDurations() {
    for (const until of document.querySelectorAll("[data-ends]")) {
      const text = formatDuration(Number(until.dataset.ends) - Date.now() / 1000);
      if (until.textContent !== text) until.textContent = text;
    }
  }

  // Enter in a field decides nothing. A decline without a reason is stopped before it is sent.
  document.addEventListener("keydown", (event) => {
    const field = event.target;
    if (event.key !== "Enter" || !field.matches(".decide input")) return;
    event.preventDefault();
    announce("Nothing was decided. Choose Decline or Approve.");
  });

  function lacksReason(form, button) {
    const reason = form.elements.reason;
    if (button?.value !== "decline" || reason.value.trim()) return false;
    const alert = form.querySelector(".lacking") ?? document.createElement("p");
    alert.className = "lacking wrong";
    alert.id = `${reason.id}-wrong`;
    alert.setAttribute("role", "alert");
    alert.textContent = "Enter a reason to decline. The ledger records it.";
    reason.after(alert);
    reason.setAttribute("aria-invalid", "true");
    reason.setAttribute("aria-describedby", alert.id);
    reason.focus();
    return true;
  }

  document.addEventListener("input", (event) => {
    const field = event.target;
    if (field.name !== "reason" || !field.value.trim()) return;
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-describedby");
    field.form.querySelector(".lacking")?.remove();
  });

  // A second click on a submitted form sends nothing.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent || (form.matches(".decide") && lacksReason(form, event.submitter))) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
  });

  // Events do not cover a PIN set or an approval used meanwhile, so a visible tab polls for them.
  function updateVisible() {
    if (cards && hasStanding() && !document.hidden) update();
  }

  document.addEventListener("visibilitychange", updateVisible);
  // On load, after the browser jumped to #approval-N: the jump takes the focus away.
  addEventListener("load", () =>
    requestAnimationFrame(() => document.querySelector("[data-focus]")?.focus()),
  );
  offerNotifications();
  if (badge) listen(); // without it this user may not see what is pending
  setInterval(updateDurations, 30 * 1000);
  setInterval(updateVisible, 10 * 1000);
})();
