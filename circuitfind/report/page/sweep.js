// What the page of a sweep does, beside what every page does (base.js).
byId("save-sweep").addEventListener("click", () =>
  save("sweep.json", JSON.stringify(told, null, 2) + "\n", "application/json"));

// A click on a column sorts by it, a second one the other way round. Numbers are sorted as such,
// and empty cells come last.
all("#points thead th").forEach((head, column, heads) => {
  head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((one) => one.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = document.querySelector("#points tbody");
    const key = (row) => row.cells[column].textContent.trim();
    const order = (a, b) => {
      const [one, other] = [key(a), key(b)];
      if (!one || !other) return !one - !other;
      const [x, y] = [parseFloat(one), parseFloat(other)];
      const found = isNaN(x) || isNaN(y) ? one.localeCompare(other) : x - y;
      return up ? found : -found;
    };
    body.append(...[...body.rows].sort(order));
  });
});
