// What the page of a comparison does, beside what every page does (base.js).
byId("save-comparison").addEventListener("click", () =>
  save("compare.json", JSON.stringify(told, null, 2) + "\n", "application/json"));
byId("save-figure").addEventListener("click", () => saveDrawing("overlap.svg", byId("overlap")));
