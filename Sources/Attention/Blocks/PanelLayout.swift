import AttentionTypes

/// Where the elements of one head lie within its panels of W keys or W columns, W being
/// ``PackedPanel/width``.
struct PanelLayout {
  /// Tokens in the run.
  let count: Int
  /// Columns of a row.
  let headDim: Int
  /// Whether a panel is W keys wide (keys) or W columns wide (values).
  private let panelsAcrossKeys: Bool

  /// `[⌈count/W⌉][headDim][W]`.
  static func keys(count: Int, headDim: Int) -> PanelLayout {
    PanelLayout(count: count, headDim: headDim, panelsAcrossKeys: true)
  }

  /// `[⌈headDim/W⌉][count][W]`.
  static func values(count: Int, headDim: Int) -> PanelLayout {
    PanelLayout(count: count, headDim: headDim, panelsAcrossKeys: false)
  }

  /// Writes rows `start ..< start + rowCount` of the run into their places.
  ///
  /// - Parameters:
  ///   - rows: row `t` lies at `t · stride`.
  ///   - panels: the first element of the head.
  ///   - packed: rounds a number.
  @unsafe @inline(__always)
  func scatter<Element>(
    rows: UnsafePointer<Float>, stride: Int, rowCount: Int, from start: Int,
    to panels: UnsafeMutablePointer<Element>, _ packed: (_ number: Float) -> Element
  ) {
    let width = PackedPanel.width
    for index in 0..<rowCount {
      let row = unsafe rows + index * stride
      let token = start + index
      if panelsAcrossKeys {
        let first = token / width * width
        let panelWidth = min(width, count - first)
        let column = unsafe panels + first * headDim + (token - first)
        for d in 0..<headDim {
          unsafe column[d * panelWidth] = packed(row[d])
        }
      } else {
        var first = 0
        while first < headDim {
          let panelWidth = min(width, headDim - first)
          let column = unsafe panels + first * count + token * panelWidth
          for d in 0..<panelWidth {
            unsafe column[d] = packed(row[first + d])
          }
          first += width
        }
      }
    }
  }
}
