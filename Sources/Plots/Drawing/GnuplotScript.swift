import Reporting

/// A figure as a script for gnuplot and the data that it reads.
package struct GnuplotScript {
  private let figure: Figure
  private let layout: FigureLayout
  private let colors: Theme

  /// The colours of what is not data.
  package struct Theme {
    let background: String
    let text: String
    let faint: String
    let grid: String

    /// Blues as they are to be seen on a dark background.
    var isDark = false

    package static let light = Theme(
      background: "#ffffff", text: "#202020", faint: "#606060", grid: "#e6e6e6")
    package static let dark = Theme(
      background: "#0d1117", text: "#e6edf3", faint: "#9198a1", grid: "#2b3038",
      isDark: true)
  }

  package init(_ figure: Figure, theme: Theme) {
    self.figure = figure
    layout = FigureLayout(figure)
    colors = theme
  }

  /// A row for each point: the numbers of its panel and series, the series' label, the coordinates,
  /// the ends of the error bar and the sides and foot of a bar.
  var data: String {
    var lines = ["panel,series,label,x,y,low,high,left,right,base"]
    for (panel, place) in layout.places.enumerated() {
      for (index, series) in place.panel.series.enumerated() {
        for point in series.points {
          let numbers = [
            point.x, point.y, point.low ?? point.y, point.high ?? point.y, point.left, point.right,
            point.base,
          ]
          lines.append(
            "\(panel + 1),\(index + 1),\(csvCell(Self.line(series.label))),"
              + numbers.map { "\($0)" }.joined(separator: ","))
        }
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// - Parameters:
  ///   - format: of the picture.
  ///   - output: the picture's name, in the folder in which gnuplot is started.
  ///   - data: the name of the file of the data, there too.
  func script(_ format: PictureFormat, output: String, data: String) -> String {
    let (width, height) = (layout.width, layout.height)
    var lines = [
      "# Draws \(Self.line(output)) from \(Self.line(data)): run gnuplot on this file, in its "
        + "folder.",
      "set encoding utf8",
      "set terminal " + format.terminal(width: width, height: height, colors.background),
      // A name that begins with | or < would be a command.
      "set output \(Self.quoted("./" + output))",
      "data = \(Self.quoted("./" + data))",
      "set datafile separator comma",
      "set datafile columnheaders",
      "# A column of the rows of one series of one panel.",
      "of(p, s, name) = column(1) == p && column(2) == s ? column(name) : NaN",
      "set border 3 lc rgb \"\(colors.text)\"",
      "set style fill solid 1 noborder",
      "unset key",
      "set multiplot",
      label(figure.title, at: (18, height - 26), font: "Arial,18", colors.text),
    ]
    if !figure.subtitle.isEmpty {
      lines.append(
        label(figure.subtitle, at: (18, height - 48), font: "Arial,12", colors.faint))
    }
    for index in layout.places.indices { lines += panel(index) }
    return (lines + ["unset multiplot", "unset output"]).joined(separator: "\n") + "\n"
  }

  private func panel(_ index: Int) -> [String] {
    let place = layout.places[index]
    let panel = place.panel
    var lines = [
      "",
      "set lmargin at screen \(place.left / layout.width)",
      "set rmargin at screen \(place.right / layout.width)",
      "set bmargin at screen \(place.bottom / layout.height)",
      "set tmargin at screen \(place.top / layout.height)",
    ]
    if !panel.title.isEmpty {
      lines.append(
        label(panel.title, at: (place.left, place.top + 16), font: "Arial,14", colors.text))
    }
    for (name, resolved) in [("x", place.x), ("y", place.y)] {
      lines.append(
        resolved.scale == .logarithmic ? "set logscale \(name)" : "unset logscale \(name)")
      lines.append(
        "set \(name)range [\(resolved.range.lowerBound):\(resolved.range.upperBound)]")
      let ticks =
        resolved.ticks.map { "\(Self.quoted(Self.tick($0.label))) \($0.value)" }
        + resolved.minor.map { "'' \($0) 1" }
      lines.append(
        "set \(name)tics (\(ticks.joined(separator: ", "))) nomirror out scale 0.5,0.25 "
          + "font \"Arial,12\" textcolor rgb \"\(colors.text)\"")
    }
    lines.append(
      "set grid \(panel.x.hasNames ? "no" : "")xtics ytics lc rgb \"\(colors.grid)\" lt 1 lw 1")
    // Labels keep their distance in pixels where gnuplot would count characters.
    lines.append(
      label(
        panel.x.title, at: ((place.left + place.right) / 2, 18), font: "Arial,13", colors.text,
        "center"))
    if !panel.y.title.isEmpty {
      let ticks =
        place.y.ticks.map {
          FigureLayout.textWidth($0.label, size: FigureLayout.smallFontSize)
        }.max() ?? 0
      lines.append(
        label(
          panel.y.title, at: (place.left - ticks - 28, (place.bottom + place.top) / 2),
          font: "Arial,13", colors.text, "center rotate by 90"))
    }
    lines += notes(place)
    let plots =
      panel.series.enumerated().flatMap { drawing($1, panel: index + 1, series: $0 + 1) }
      + (index == 0 ? layout.legend.map(legendEntry) : [])
    if index == 0, !layout.legend.isEmpty {
      lines.append(
        "set key at screen \(layout.legendLeft / layout.width), screen "
          + "\((place.top + 6) / layout.height)"
          + " left top Left reverse samplen 2.2 spacing \(layout.legend.count > 16 ? 1 : 1.35) "
          + "width 0 font \"Arial,13\""
          + " textcolor rgb \"\(colors.text)\"")
    }
    lines.append("plot \(plots.joined(separator: ", \\\n  "))")
    return lines + ["unset label", "unset key"]
  }

  private func notes(_ place: FigureLayout.Place) -> [String] {
    var placement = NotePlacement(in: place)
    return place.panel.notes.compactMap { note in
      guard let offset = placement.offset(of: note) else { return nil }
      return "set label \(Self.quoted(note.text)) at \(note.x), \(note.y) center offset screen "
        + "\(offset.x / layout.width), screen \(offset.y / layout.height) font \"Arial,12\" "
        + "textcolor rgb \"\(hex(note.color))\" front"
    }
  }

  private func label(
    _ text: String, at place: (x: Double, y: Double), font: String, _ color: String,
    _ more: String = "left"
  ) -> String {
    "set label \(Self.quoted(text)) at screen \(place.x / layout.width), "
      + "screen \(place.y / layout.height) \(more) font \"\(font)\" textcolor rgb \"\(color)\""
  }

  /// How one series is drawn, without its entry in the legend.
  private func drawing(_ series: Series, panel: Int, series index: Int) -> [String] {
    func column(_ name: String) -> String { "(of(\(panel),\(index),\"\(name)\"))" }
    let point = "data using \(column("x")):\(column("y"))"
    let style = look(series.style)
    // As vectors: gnuplot draws error bars with a white disc in their middle.
    let color = series.style.form == .bars ? colors.text : hex(series.style.color)
    let bars =
      series.points.contains { $0.low != nil }
      ? [
        "data using \(column("x")):\(column("low")):(0):"
          + "(of(\(panel),\(index),\"high\")-of(\(panel),\(index),\"low\")) with vectors heads "
          + "size screen 0.004,90 lw 1.3 lc rgb \"\(color)\" notitle"
      ] : []
    switch series.style.form {
    case .bars:
      return [
        "\(point):\(column("left")):\(column("right")):\(column("base")):\(column("y")) \(style) "
          + "notitle"
      ] + bars
    case .line, .markers, .guide: return bars + ["\(point) \(style) notitle"]
    }
  }

  private func legendEntry(_ series: Series) -> String {
    let style =
      series.style.form == .bars
      ? "with boxes fc rgb \"\(hex(series.style.color))\"" : look(series.style)
    return "keyentry \(style) title \(Self.quoted(series.label))"
  }

  private func hex(_ color: Color) -> String {
    color == .gray ? colors.faint : colors.isDark ? color.onDark : color.hex
  }

  private func look(_ style: Series.Style) -> String {
    let color = "lc rgb \"\(hex(style.color))\""
    return switch style.form {
    case .line: "with linespoints \(color) lw 2 dt \(style.dash) pt \(style.marker) ps 0.9"
    case .markers: "with points \(color) pt \(style.marker) ps 1.1"
    case .guide: "with lines \(color) lw 1 dt \(style.dash)"
    case .bars: "with boxxyerror fc rgb \"\(hex(style.color))\""
    }
  }

  /// A text of the script: within single quotes nothing but the quote itself means anything.
  static func quoted(_ text: String) -> String {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
      "'" + line.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''")
        + "'"
    }
    return lines.count == 1 ? lines[0] : "(\(lines.joined(separator: ".\"\\n\".")))"
  }

  /// A tick's label, which gnuplot takes for a format.
  private static func tick(_ text: String) -> String {
    String(text.flatMap { $0 == "%" ? ["%", "%"] : [$0] })
  }

  /// A text without ends of lines.
  private static func line(_ text: String) -> String {
    String(text.map { $0.isNewline ? " " : $0 })
  }
}
