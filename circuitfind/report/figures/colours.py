"""The colours of figures and of graphs in text, on light paper."""

INK, FAINT = "#1a1a1a", "#d0d0d0"
# One hue each side of 0, even steps of lightness in OKLab; losses stay light under their hatch.
GAINS = ["#dfe9f3", "#aacbee", "#74ade7", "#448dd4", "#226fb3", "#11518b", "#093562"]
LOSSES = ["#f2e5dc", "#ebc1a5", "#e09c6d", "#d27830"]
