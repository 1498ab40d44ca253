/// Places for small texts beside points where they cover neither one another nor a point.
struct NotePlacement {
  private struct Box {
    let left: Double
    let right: Double
    let bottom: Double
    let top: Double

    func overlaps(_ other: Box) -> Bool {
      left < other.right && other.left < right && bottom < other.top && other.bottom < top
    }
  }

  private let place: FigureLayout.Place
  private var taken: [Box]

  init(in place: FigureLayout.Place) {
    self.place = place
    taken = place.panel.series.flatMap { series in
      series.style.form == .guide || series.style.form == .bars
        ? []
        : series.points.map { point in
          let (x, y) = place.position(point.x, point.y)
          return Box(left: x - 5, right: x + 5, bottom: y - 5, top: y + 5)
        }
    }
  }

  /// The offset of the text's middle from its point, in pixels; nil if there is no room.
  mutating func offset(of note: Note) -> (x: Double, y: Double)? {
    let width = FigureLayout.textWidth(note.text, size: FigureLayout.smallFontSize)
    let height = FigureLayout.smallFontSize + 2
    let (x, y) = place.position(note.x, note.y)
    let side = width / 2 + 8
    let candidates: [(x: Double, y: Double)]
    switch note.position {
    case .above: return (0, 11)
    case .leftAbove: return (-width / 2 - 4, 11)
    case .below: return (0, -22)
    case .free:
      candidates = [
        (side, 0), (-side, 0), (0, 14), (0, -14), (side, 12), (-side, 12), (side, -12),
        (-side, -12),
        (side, 22), (-side, 22), (side, -22), (-side, -22),
      ]
    }
    for candidate in candidates {
      let middle = (x: x + candidate.x, y: y + candidate.y)
      let box = Box(
        left: middle.x - width / 2, right: middle.x + width / 2, bottom: middle.y - height / 2,
        top: middle.y + height / 2)
      guard box.left >= place.left, box.right <= place.right, box.bottom >= place.bottom,
        box.top <= place.top, !taken.contains(where: box.overlaps)
      else { continue }
      taken.append(box)
      return candidate
    }
    return nil
  }
}
