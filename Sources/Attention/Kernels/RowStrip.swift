import CInstructions
import Compute

/// A few rows by a few panels of a product: what ``RegisterTile`` is for many rows, for panels that
/// are read where they lie and widened on the way.
///
/// Four rows of a panel are eight AVX2 registers: as many independent chains as hide the latency of
/// a multiply–add, and as many as leave room to widen. Every lane adds up its products in the order
/// in which a ``RegisterTile`` does, so that a row has the same bits whichever of them computes it.
///
/// Memory is asked for what comes later, in the order in which it lies: by themselves processors
/// look ahead along streams, of which a strip has four that end soon, and wait for each again.
struct RowStrip {
  private var a = PanelRow(), b = PanelRow(), c = PanelRow()
  private var d = PanelRow(), e = PanelRow(), f = PanelRow()

  /// How many rows and panels a strip has.
  enum Form {
    case oneRow, twoRows, fourRows, sixRows

    /// The largest with at most as many rows.
    @inline(__always)
    init(rows: Int) {
      self = rows >= 6 ? .sixRows : rows >= 4 ? .fourRows : rows >= 2 ? .twoRows : .oneRow
    }

    @inline(__always) var rows: Int {
      switch self {
      case .oneRow: 1
      case .twoRows: 2
      case .fourRows: 4
      case .sixRows: 6
      }
    }

    @inline(__always) var panels: Int {
      switch self {
      case .oneRow: 4
      case .twoRows: 2
      case .fourRows, .sixRows: 1
      }
    }
  }

  /// What is asked for while a strip is computed: lines as far ahead of each step as there are
  /// `bytes`, for each panel of the strip, `distance` bytes apart; every four steps move on by
  /// `stride`.
  struct ReadAhead {
    let bytes: Int
    let distance: Int
    let stride: Int
  }

  /// Rows and panels of a product.
  @unsafe
  struct Operands<Element: PanelElement> {
    /// Element `s` of row `r` lies at `r · rowStride + s · stepStride`.
    let rows: UnsafePointer<Float>
    let rowStride: Int
    let stepStride: Int
    /// Panel `p` begins at `p · distance`, `[steps, W]`.
    let panels: UnsafePointer<Element>
    let distance: Int
    let steps: Int
    /// What scaled elements are multiples of: of columns, `[panels][W]`, or of steps.
    let scales: UnsafeRawPointer
    let scalesColumns: Bool

    @inline(__always)
    func factor(_ row: Int, _ step: Int) -> PanelRow {
      unsafe PanelRow(repeating: rows[row * rowStride + step * stepStride])
    }

    @inline(__always)
    func panelRow(_ panel: Int, _ step: Int) -> PanelRow {
      let first = panel * distance + step * PanelRow.scalarCount
      let scale = scalesColumns ? panel * PanelRow.scalarCount : step
      return unsafe Element.row(
        panels + first, scales: scales + scale * MemoryLayout<Float>.stride,
        across: scalesColumns)
    }
  }

  /// A strip of zeros.
  @inline(__always)
  init() {}

  /// Adds `Σ_s row[s] · panel[s, :]` for each row and panel.
  ///
  /// - Parameter ahead: nil if nothing is to be asked for.
  @unsafe @inline(__always)
  mutating func accumulate<Element: PanelElement>(
    _ form: Form, _ operands: Operands<Element>, ahead: ReadAhead?
  ) {
    switch form {
    case .oneRow: unsafe accumulateOneRow(operands, ahead)
    case .twoRows: unsafe accumulateTwoRows(operands, ahead)
    case .fourRows: unsafe accumulateFourRows(operands, ahead)
    case .sixRows: unsafe accumulateSixRows(operands, ahead)
    }
  }

  @unsafe @inline(__always)
  private mutating func accumulateOneRow<Element: PanelElement>(
    _ operands: Operands<Element>, _ ahead: ReadAhead?
  ) {
    unsafe forEachStep(operands, panels: Form.oneRow.panels, ahead) { step in
      let factor = unsafe operands.factor(0, step)
      unsafe a.add(factor, operands.panelRow(0, step))
      unsafe b.add(factor, operands.panelRow(1, step))
      unsafe c.add(factor, operands.panelRow(2, step))
      unsafe d.add(factor, operands.panelRow(3, step))
    }
  }

  @unsafe @inline(__always)
  private mutating func accumulateTwoRows<Element: PanelElement>(
    _ operands: Operands<Element>, _ ahead: ReadAhead?
  ) {
    unsafe forEachStep(operands, panels: Form.twoRows.panels, ahead) { step in
      let left = unsafe operands.panelRow(0, step)
      let right = unsafe operands.panelRow(1, step)
      var factor = unsafe operands.factor(0, step)
      a.add(factor, left)
      b.add(factor, right)
      unsafe factor = operands.factor(1, step)
      c.add(factor, left)
      d.add(factor, right)
    }
  }

  @unsafe @inline(__always)
  private mutating func accumulateFourRows<Element: PanelElement>(
    _ operands: Operands<Element>, _ ahead: ReadAhead?
  ) {
    unsafe forEachStep(operands, panels: Form.fourRows.panels, ahead) { step in
      let row = unsafe operands.panelRow(0, step)
      unsafe a.add(operands.factor(0, step), row)
      unsafe b.add(operands.factor(1, step), row)
      unsafe c.add(operands.factor(2, step), row)
      unsafe d.add(operands.factor(3, step), row)
    }
  }

  @unsafe @inline(__always)
  private mutating func accumulateSixRows<Element: PanelElement>(
    _ operands: Operands<Element>, _ ahead: ReadAhead?
  ) {
    unsafe forEachStep(operands, panels: Form.sixRows.panels, ahead) { step in
      let row = unsafe operands.panelRow(0, step)
      unsafe a.add(operands.factor(0, step), row)
      unsafe b.add(operands.factor(1, step), row)
      unsafe c.add(operands.factor(2, step), row)
      unsafe d.add(operands.factor(3, step), row)
      unsafe e.add(operands.factor(4, step), row)
      unsafe f.add(operands.factor(5, step), row)
    }
  }

  /// Calls `body` for every step, and between four of them asks for as much as they read.
  @unsafe @inline(__always)
  private func forEachStep<Element: PanelElement>(
    _ operands: Operands<Element>, panels: Int, _ ahead: ReadAhead?, _ body: (_ step: Int) -> Void
  ) {
    let steps = unsafe operands.steps
    guard let ahead else {
      for step in 0..<steps { body(step) }
      return
    }
    // Four steps of a panel are 64 bytes for each byte of an element.
    var line = unsafe UnsafeRawPointer(operands.panels) + ahead.bytes
    var step = 0
    while step + 4 <= steps {
      for panel in 0..<panels {
        for part in 0..<MemoryLayout<Element>.stride {
          unsafe gyre_prefetch(line + panel * ahead.distance + part * 64)
        }
      }
      unsafe line += ahead.stride
      for step in step..<step + 4 { body(step) }
      step += 4
    }
    while step < steps {
      body(step)
      step += 1
    }
  }

  /// Calls `body` with each row of the result, which is of row `row` and panel `panel`.
  @unsafe @inline(__always)
  func forEach(_ form: Form, _ body: (_ result: PanelRow, _ row: Int, _ panel: Int) -> Void) {
    switch form {
    case .oneRow:
      body(a, 0, 0)
      body(b, 0, 1)
      body(c, 0, 2)
      body(d, 0, 3)
    case .twoRows:
      body(a, 0, 0)
      body(b, 0, 1)
      body(c, 1, 0)
      body(d, 1, 1)
    case .fourRows, .sixRows:
      body(a, 0, 0)
      body(b, 1, 0)
      body(c, 2, 0)
      body(d, 3, 0)
      if form == .sixRows {
        body(e, 4, 0)
        body(f, 5, 0)
      }
    }
  }
}

extension PanelRow {
  /// One fused multiply–add, `self += a · b`.
  @inline(__always)
  fileprivate mutating func add(_ a: Self, _ b: Self) { self = addingProduct(a, b) }
}
