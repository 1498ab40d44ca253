/// Where the parts of a figure stand, in pixels from its lower left corner.
///
/// Widths of texts are estimated: gnuplot learns them only when it draws, if at all.
struct FigureLayout {
  /// A panel with its axes made out.
  struct Place {
    let panel: Panel
    let left: Double
    let right: Double
    let bottom: Double
    let top: Double
    let x: Axis.Resolved
    let y: Axis.Resolved

    /// Where a point lies, in pixels.
    func position(_ px: Double, _ py: Double) -> (x: Double, y: Double) {
      (left + x.fraction(px) * (right - left), bottom + y.fraction(py) * (top - bottom))
    }
  }

  let width: Double
  let height: Double
  let places: [Place]
  /// The series that the legend names.
  let legend: [Series]
  /// Where the legend begins.
  let legendLeft: Double

  static let fontSize = 13.0
  static let smallFontSize = 12.0

  /// How wide a text is at most, in pixels.
  static func textWidth(_ text: String, size: Double = fontSize) -> Double {
    let longest = text.split(separator: "\n").map(\.count).max() ?? 0
    return Double(longest) * size * 0.56
  }

  init(_ figure: Figure) {
    var legend: [Series] = []
    for series in figure.panels.flatMap(\.series) where !series.label.isEmpty {
      if !legend.contains(where: { $0.label == series.label }) { legend.append(series) }
    }
    self.legend = legend
    let legendWidth = legend.map { Self.textWidth($0.label) + 62 }.max() ?? 16
    let needs = figure.panels.map(Self.leastWidth)
    let least = needs.reduce(90, +)
    let titles = max(
      Self.textWidth(figure.title, size: 19), Self.textWidth(figure.subtitle, size: 12))
    width = max(900, least + legendWidth, min(titles + 40, 1400)).rounded()
    legendLeft = width - legendWidth
    height = max(560, 110 + 20 * Double(legend.count))
    let top = height - (figure.subtitle.isEmpty ? 56 : 74)
    var left = 0.0
    var places: [Place] = []
    for (panel, need) in zip(figure.panels, needs) {
      let share = legendLeft * need / needs.reduce(0, +)
      places.append(
        Self.place(
          panel, from: left, to: left + share - 14, top: panel.title.isEmpty ? top : top - 24))
      left += share
    }
    self.places = places
  }

  /// So that names under an axis do not touch.
  private static func leastWidth(of panel: Panel) -> Double {
    guard case .names(let names) = panel.x.ticks else { return 330 }
    let widest = names.map { textWidth($0, size: smallFontSize) }.max() ?? 0
    return max(330, 90 + (widest + 8) * (Double(names.count) + 0.2))
  }

  private static func place(
    _ panel: Panel, from start: Double, to end: Double, top: Double
  ) -> Place {
    let points = panel.series.flatMap(\.points)
    let xs = points.map(\.x)
    let ys = points.flatMap { [$0.y, $0.low ?? $0.y, $0.high ?? $0.y] }
    let lines = panel.x.tickLines
    let bottom = 44 + 17 * Double(lines)
    let y = panel.y.resolved(for: ys, length: top - bottom) { _ in smallFontSize + 4 }
    let labels = y.ticks.map { textWidth($0.label, size: smallFontSize) }.max() ?? 0
    let left = start + labels + (panel.y.title.isEmpty ? 22 : 46)
    let x = panel.x.resolved(for: xs, length: end - left) {
      textWidth($0, size: smallFontSize)
    }
    return Place(panel: panel, left: left, right: end, bottom: bottom, top: top, x: x, y: y)
  }
}

extension Axis {
  /// Whether it has names of things instead of numbers.
  var hasNames: Bool { if case .names = ticks { true } else { false } }

  /// The most lines that a label has.
  fileprivate var tickLines: Int {
    guard case .names(let names) = ticks else { return 1 }
    return names.map { $0.split(separator: "\n").count }.max() ?? 1
  }
}
