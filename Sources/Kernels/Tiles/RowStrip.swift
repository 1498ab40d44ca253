import CInstructions

/// A few rows by a few panels of a product: what ``RegisterTile`` is for many rows, for panels that
/// are read where they lie and widened on the way.
///
/// Four rows of a panel are eight AVX2 registers: as many independent chains as hide the latency of
/// a multiply–add, and as many as leave room to widen. Every lane adds up its products in the order
/// in which a ``RegisterTile`` does, so that a row has the same bits whichever of them computes it.
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

  /// What memory is asked for while a strip is computed, for each panel and step.
  struct ReadAhead {
    /// Bytes from what is asked for a panel to what is for the next.
    let distance: Int
    /// Bytes from what is asked for a step to what is for the next.
    let stride: Int
    /// How far ahead that is, for the second-level cache.
    let bytes: Int
    /// How far ahead the steps themselves are asked for, for the first.
    @inline(__always) var nearBytes: Int { 1 << 10 }
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
    /// What scaled elements are multiples of.
    let scales: UnsafeRawPointer
    /// The scales of a panel's columns begin so many after those of the panel before; nil if there
    /// is one for each step.
    let scaleDistance: Int?

    @inline(__always)
    func factor(_ row: Int, _ step: Int) -> PanelRow {
      unsafe PanelRow(repeating: rows[row &* rowStride &+ step &* stepStride])
    }

    @inline(__always)
    func panelRow(_ panel: Int, _ step: Int) -> PanelRow {
      let first = unsafe panel &* distance &+ step &* PanelRow.scalarCount
      let scale = unsafe scaleDistance.map { panel &* $0 } ?? step
      return unsafe Element.row(
        panels + first, scales: scales + scale &* MemoryLayout<Float>.stride,
        across: scaleDistance != nil)
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
    // Twelve registers leave none to widen several steps at once, as compilers like to; of bytes
    // they do not.
    unsafe forEachStep(
      operands, panels: Form.sixRows.panels, isUnrolled: MemoryLayout<Element>.stride == 1, ahead
    ) { step in
      let row = unsafe operands.panelRow(0, step)
      unsafe a.add(operands.factor(0, step), row)
      unsafe b.add(operands.factor(1, step), row)
      unsafe c.add(operands.factor(2, step), row)
      unsafe d.add(operands.factor(3, step), row)
      unsafe e.add(operands.factor(4, step), row)
      unsafe f.add(operands.factor(5, step), row)
    }
  }

  /// Calls `body` for every step, and asks for as much memory as they read: before four of them, or
  /// before each.
  @unsafe @inline(__always)
  private func forEachStep<Element: PanelElement>(
    _ operands: Operands<Element>, panels: Int, isUnrolled: Bool = true, _ ahead: ReadAhead?,
    _ body: (_ step: Int) -> Void
  ) {
    let steps = unsafe operands.steps
    var step = 0
    if isUnrolled {
      while step &+ 4 <= steps {
        if let ahead { unsafe ask(ahead, operands, panels: panels, step: step, steps: 4) }
        body(step)
        body(step &+ 1)
        body(step &+ 2)
        body(step &+ 3)
        step &+= 4
      }
    }
    while step < steps {
      if !isUnrolled, let ahead {
        unsafe ask(ahead, operands, panels: panels, step: step, steps: 1)
      }
      body(step)
      step &+= 1
    }
  }

  /// Asks for as much memory as some steps read.
  @unsafe @inline(__always)
  private func ask<Element: PanelElement>(
    _ ahead: ReadAhead, _ operands: Operands<Element>, panels: Int, step: Int, steps: Int
  ) {
    let first = unsafe UnsafeRawPointer(operands.panels)
    let bytesOfStep = PanelRow.scalarCount &* MemoryLayout<Element>.stride
    let distance = unsafe operands.distance &* MemoryLayout<Element>.stride
    for panel in 0..<panels {
      for part in stride(from: 0, to: steps &* bytesOfStep, by: 64) {
        unsafe gyre_prefetch_far(
          first + (ahead.bytes &+ panel &* ahead.distance &+ step &* ahead.stride &+ part))
        unsafe gyre_prefetch_near(
          first + (ahead.nearBytes &+ panel &* distance &+ step &* bytesOfStep &+ part))
      }
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
