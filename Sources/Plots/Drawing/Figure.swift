/// A figure: panels side by side under a title, with one legend to the right of them.
package struct Figure {
  package var title: String
  /// Small, under the title: where it was measured.
  package var subtitle = ""
  var panels: [Panel]
}

/// Two axes and what is drawn between them.
struct Panel {
  /// Small, above the axes; empty for none.
  var title = ""
  var x: Axis
  var y: Axis
  var series: [Series]
  var notes: [Note] = []
}

/// Points that belong together.
struct Series {
  /// Its entry in the legend, which series of several panels with one name share; empty for none.
  var label: String
  var style: Style
  var points: [Point]

  /// How points are drawn.
  enum Form {
    /// Markers, joined by a line where there are several.
    case line
    /// Markers alone.
    case markers
    /// A thin line without markers.
    case guide
    /// Bars from `base` up to the point.
    case bars
  }

  struct Style {
    var form = Form.line
    var color: Color = .gray
    /// An index of gnuplot's dash types: 1 is solid.
    var dash = 1
    /// An index of gnuplot's markers.
    var marker = 7
  }
}

/// A point with what surrounds it.
struct Point {
  var x: Double
  var y: Double
  /// The ends of the error bar; nil for none.
  var low: Double?
  var high: Double?
  /// The sides and the foot of a bar.
  var left = 0.0
  var right = 0.0
  var base = 0.0
}

/// A text beside a place.
struct Note {
  var text: String
  var x: Double
  var y: Double
  var color: Color = .gray
  var position = Position.free

  enum Position {
    /// Wherever around the place there is nothing else; left out where there is no such place.
    case free
    /// Centred above it.
    case above
    /// To its left and above, as at the end of a guide.
    case leftAbove
    /// Centred below it.
    case below
  }
}

/// Colours that people with any colour vision tell apart (Okabe and Ito 2008), and gray.
enum Color: Int, CaseIterable {
  case blue, vermillion, green, purple, orange, sky, gray

  /// Those of the series in turn.
  static func cycle(_ index: Int) -> Color { Color(rawValue: index % 6) ?? .blue }

  var hex: String {
    switch self {
    case .blue: "#0072B2"
    case .vermillion: "#D55E00"
    case .green: "#009E73"
    case .purple: "#CC79A7"
    case .orange: "#E69F00"
    case .sky: "#56B4E9"
    case .gray: "#808080"
    }
  }

  /// The blues lighter, so that they are seen before a dark background.
  var onDark: String {
    switch self {
    case .blue: "#4C9BE8"
    case .sky: "#A6D8F5"
    default: hex
    }
  }
}
