"use strict";
// Draw each picture where its data stand, in the page's colours. On a touch screen a finger scrolls the page.
const isTouched = matchMedia("(pointer: coarse)").matches;
const isDark = matchMedia("(prefers-color-scheme: dark)");

function inColours(layout) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axes = Object.keys(layout).filter((name) => /^[xy]axis/.test(name));
  const lines = { gridcolor: colour("--rule"), zerolinecolor: colour("--quiet"), linecolor: colour("--rule") };
  return {
    ...layout,
    ...Object.fromEntries(axes.map((name) => [name, { ...lines, ...layout[name] }])),
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--text"), family: getComputedStyle(document.body).fontFamily, size: 12 },
    hoverlabel: { align: "left", bgcolor: colour("--card"), bordercolor: colour("--quiet"), font: { color: colour("--text") } },
    hovermode: "closest",
    dragmode: isTouched ? false : "zoom",
    margin: { l: 50, r: 12, t: 24, b: 40, ...layout.margin },
    legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom" },
  };
}

// No mode bar: one of its buttons sends a picture's data to a company's server.
const config = { responsive: true, displayModeBar: false, showSendToCloud: false };

function draw() {
  for (const data of document.querySelectorAll("script[type='application/json']")) {
    const figure = JSON.parse(data.textContent);
    Plotly.react(data.previousElementSibling, figure.data, inColours(figure.layout), config);
  }
  document.documentElement.dataset.drawn = "yes";
}

draw();
isDark.addEventListener("change", draw);
