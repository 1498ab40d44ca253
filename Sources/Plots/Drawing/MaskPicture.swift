import Reporting

/// A mask as a picture: queries from top to bottom, keys from left to right, in squares that say
/// how much is seen and whether keys have to come from other ranks; who holds what along the edges.
package struct MaskPicture {
  /// What some queries see of as many keys.
  package enum Square: Int, CaseIterable, Sendable {
    case hidden, ownSome, own, othersSome, others

    fileprivate var hex: String {
      switch self {
      case .hidden: "#f4f4f4"
      case .ownSome: "#99c7e0"
      case .own: Color.blue.hex
      case .othersSome: "#eebf99"
      case .others: Color.vermillion.hex
      }
    }

    fileprivate var words: String {
      switch self {
      case .hidden: "hidden: neither computed nor sent"
      case .ownSome: "keys of the same rank, some seen"
      case .own: "all seen"
      case .othersSome: "keys of other ranks, some seen"
      case .others: "all seen"
      }
    }
  }

  private let title: String
  private let subtitle: String
  private let squares: [[Square]]
  private let rowOwners: [Int?]
  private let columnOwners: [Int?]
  private let tokens: (queries: Int, keys: Int)

  /// - Parameters:
  ///   - squares: row by row, all as long; at most a few hundred.
  ///   - rowOwners: for each row the rank that holds most of its queries; nil if none does.
  ///   - columnOwners: likewise of keys.
  ///   - queries: how many there are.
  ///   - keys: how many there are.
  package init(
    title: String, subtitle: String, squares: [[Square]], rowOwners: [Int?], columnOwners: [Int?],
    queries: Int, keys: Int
  ) {
    self.title = title
    self.subtitle = subtitle
    self.squares = squares
    self.rowOwners = rowOwners
    self.columnOwners = columnOwners
    tokens = (queries, keys)
  }

  // MARK: Where things stand, in pixels

  private static let left = 74
  private static let top = 112
  private static let strip = 16
  private static let legendLine = 22

  private var columns: Int { columnOwners.count }
  private var rows: Int { rowOwners.count }
  /// The side of a square.
  private var side: Int { min(32, max(1, 576 / max(1, columns, rows))) }
  private var right: Int { Self.left + columns * side }
  private var bottom: Int { Self.top + rows * side }

  /// What the legend names: a line for own keys, for those of others, and for what is hidden.
  private var legend: [[Square]] {
    let present = Set(squares.joined())
    return [[Square.ownSome, .own], [.othersSome, .others], [.hidden]].map {
      $0.filter(present.contains)
    }.filter { !$0.isEmpty }
  }

  private var size: (width: Int, height: Int) {
    let texts = [
      FigureLayout.textWidth(title, size: 18), FigureLayout.textWidth(subtitle, size: 12),
      FigureLayout.textWidth(Self.stripWords, size: 12), 420,
    ]
    let text = Int(texts.reduce(0, max))
    return (
      max(right, Self.left + text) + 24, bottom + 46 + Self.legendLine * (legend.count + 1)
    )
  }

  private static let stripWords =
    "Along the edges: the rank that holds the queries (left) and the keys (top)"

  // MARK: Writing

  /// The picture as a file of SVG 1.1.
  package var svg: String {
    let (width, height) = size
    let parts = [
      """
      <svg xmlns="http://www.w3.org/2000/svg" width="\(width)" height="\(height)" \
      viewBox="0 0 \(width) \(height)" font-family="DejaVu Sans, Helvetica, Arial, sans-serif" \
      font-size="12" fill="#202020">
      <rect width="\(width)" height="\(height)" fill="#ffffff"/>
      """,
      text(title, x: Self.left, y: 34, more: #"font-size="18""#),
      text(subtitle, x: Self.left, y: 56, more: ##"fill="#606060""##),
      text(
        "keys", x: (Self.left + right) / 2, y: Self.top - Self.strip - 10,
        more: #"text-anchor="middle""#),
      text(
        "queries", x: 0, y: 0,
        more: "text-anchor=\"middle\" transform=\"translate(\(Self.left - Self.strip - 26) "
          + "\((Self.top + bottom) / 2)) rotate(-90)\""),
    ]
    return (parts + Square.allCases.compactMap(path) + strips + boundaries + ends + legendParts)
      .joined(separator: "\n") + "\n</svg>\n"
  }

  private func text(_ text: String, x: Int, y: Int, more: String = "") -> String {
    let escaped = text.reduce(into: "") { result, character in
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      default: result.append(character)
      }
    }
    return "<text x=\"\(x)\" y=\"\(y)\"\(more.isEmpty ? "" : " ")\(more)>\(escaped)</text>"
  }

  private func box(
    x: Int, y: Int, width: Int, height: Int, _ fill: String, stroke: String? = nil
  ) -> String {
    let edge = stroke.map { " stroke=\"\($0)\"" } ?? ""
    return "<rect x=\"\(x)\" y=\"\(y)\" width=\"\(width)\" height=\"\(height)\" "
      + "fill=\"\(fill)\"\(edge) shape-rendering=\"crispEdges\"/>"
  }

  /// All squares of a kind, neighbours of a row in one stroke.
  private func path(of kind: Square) -> String? {
    if kind == .hidden {
      return box(
        x: Self.left, y: Self.top, width: columns * side, height: rows * side, kind.hex)
    }
    var strokes = ""
    for (row, squares) in squares.enumerated() {
      var column = 0
      while column < squares.count {
        guard squares[column] == kind else {
          column += 1
          continue
        }
        let end = squares[column...].firstIndex { $0 != kind } ?? squares.count
        strokes +=
          "M\(Self.left + column * side) \(Self.top + row * side)h\((end - column) * side)"
          + "v\(side)h\((column - end) * side)z"
        column = end
      }
    }
    return strokes.isEmpty
      ? nil : "<path fill=\"\(kind.hex)\" shape-rendering=\"crispEdges\" d=\"\(strokes)\"/>"
  }

  /// Stretches of an axis that one rank holds.
  private static func stretches(_ owners: [Int?]) -> [(range: Range<Int>, owner: Int?)] {
    var stretches: [(range: Range<Int>, owner: Int?)] = []
    for (index, owner) in owners.enumerated() {
      if let last = stretches.last, last.owner == owner {
        stretches[stretches.count - 1].range = last.range.lowerBound..<index + 1
      } else {
        stretches.append((index..<index + 1, owner))
      }
    }
    return stretches
  }

  private static func shade(of owner: Int?) -> String {
    guard let owner else { return "#eeeeee" }
    return owner % 2 == 0 ? "#c8c8c8" : "#dedede"
  }

  /// Who holds what, with the rank's number where there is room for it.
  private var strips: [String] {
    func room(_ length: Int, for owner: Int?) -> Bool {
      owner.map { FigureLayout.textWidth("\($0)", size: 11) + 3 <= Double(length) } ?? false
    }
    let ofKeys = Self.stretches(columnOwners).flatMap { range, owner -> [String] in
      let (x, length) = (Self.left + range.lowerBound * side, range.count * side)
      return [
        box(
          x: x, y: Self.top - Self.strip - 2, width: length, height: Self.strip,
          Self.shade(of: owner))
      ]
        + (room(length, for: owner)
          ? [
            text(
              "\(owner ?? 0)", x: x + length / 2, y: Self.top - 6,
              more: #"text-anchor="middle" font-size="11""#)
          ] : [])
    }
    let ofQueries = Self.stretches(rowOwners).flatMap { range, owner -> [String] in
      let (y, length) = (Self.top + range.lowerBound * side, range.count * side)
      return [
        box(
          x: Self.left - Self.strip - 2, y: y, width: Self.strip, height: length,
          Self.shade(of: owner))
      ]
        + (length >= 12 && owner != nil
          ? [
            text(
              "\(owner ?? 0)", x: Self.left - Self.strip / 2 - 2, y: y + length / 2 + 4,
              more: #"text-anchor="middle" font-size="11""#)
          ] : [])
    }
    return ofKeys + ofQueries
  }

  /// Where shards end, if they are not so many that nothing else would be seen.
  private var boundaries: [String] {
    let columns = Self.stretches(columnOwners).dropFirst().map { $0.range.lowerBound * side }
    let rows = Self.stretches(rowOwners).dropFirst().map { $0.range.lowerBound * side }
    var strokes = "M\(Self.left) \(Self.top)H\(right)V\(bottom)H\(Self.left)z"
    if columns.count <= 48 {
      strokes += columns.map { "M\(Self.left + $0) \(Self.top)V\(bottom)" }.joined()
    }
    if rows.count <= 48 {
      strokes += rows.map { "M\(Self.left) \(Self.top + $0)H\(right)" }.joined()
    }
    return [
      "<path fill=\"none\" stroke=\"#808080\" stroke-width=\"0.6\" d=\"\(strokes)\"/>"
    ]
  }

  /// The numbers of queries and keys at the ends of the axes.
  private var ends: [String] {
    [
      text("0", x: Self.left, y: bottom + 16, more: ##"fill="#606060""##),
      text(
        grouped(tokens.keys), x: right, y: bottom + 16, more: ##"text-anchor="end" fill="#606060""##
      ),
      text(
        grouped(tokens.queries), x: Self.left - Self.strip - 8, y: bottom,
        more: ##"text-anchor="end" fill="#606060""##),
    ]
  }

  private var legendParts: [String] {
    var parts: [String] = []
    var y = bottom + 44
    for line in legend {
      var x = Self.left
      for (index, square) in line.enumerated() {
        // Alone, a colour needs to say whose keys it is about.
        let words =
          square == .own && index == 0
          ? "keys of the same rank, all seen"
          : square == .others && index == 0 ? "keys of other ranks, all seen" : square.words
        parts.append(box(x: x, y: y - 11, width: 13, height: 13, square.hex, stroke: "#808080"))
        parts.append(text(words, x: x + 20, y: y))
        x += 20 + Int(FigureLayout.textWidth(words, size: 12)) + 24
      }
      y += Self.legendLine
    }
    return parts + [text(Self.stripWords, x: Self.left, y: y, more: ##"fill="#606060""##)]
  }
}
