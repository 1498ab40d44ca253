import AttentionTypes
public import Compute
public import Tensors

extension KeyValueBlock {
  /// Packs key rows of one run, starting at local index `start` of the run.
  ///
  /// - Parameters:
  ///   - rows: `[count, kvHeads, headDim]`, row-major.
  ///   - batch: the sequence that the rows belong to.
  ///   - run: the index in ``runs``.
  ///   - start: the local index of the first row within the run.
  /// - Complexity: O(rows.count), each element is moved once; shared among the threads.
  public mutating func packKeys(
    _ rows: Span<Float>, batch: Int, run: Int, from start: Int,
    team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    let count = checkedRowCount(rows, columns: shape.headDim, run: run, from: start)
    let layout = PanelLayout.keys(count: runs[run].count, headDim: shape.headDim)
    for kvHead in 0..<shape.kvHeads {
      let head = unsafe packedHead(batch: batch, run: run, kvHead: kvHead)
      unsafe pack(
        rows, kvHead: kvHead, rowCount: count, from: start, to: head.keys, scales: head.scales,
        layout, team)
    }
  }

  /// Packs value rows of one run, starting at local index `start` of the run.
  ///
  /// - Parameters:
  ///   - rows: `[count, kvHeads, valueHeadDim]`, row-major.
  ///   - batch: the sequence that the rows belong to.
  ///   - run: the index in ``runs``.
  ///   - start: the local index of the first row within the run.
  /// - Complexity: O(rows.count), each element is moved once; shared among the threads.
  public mutating func packValues(
    _ rows: Span<Float>, batch: Int, run: Int, from start: Int,
    team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    let count = checkedRowCount(rows, columns: shape.valueHeadDim, run: run, from: start)
    let layout = PanelLayout.values(count: runs[run].count, headDim: shape.valueHeadDim)
    for kvHead in 0..<shape.kvHeads {
      let head = unsafe packedHead(batch: batch, run: run, kvHead: kvHead)
      unsafe pack(
        rows, kvHead: kvHead, rowCount: count, from: start, to: head.values,
        scales: head.scales + head.count * MemoryLayout<Float>.stride, layout, team)
    }
  }

  /// Packs whole shards of keys and values.
  ///
  /// - Parameters:
  ///   - keys: `[batch, keys, kvHeads, headDim]`, the shard's keys in the order of ``runs``.
  ///   - values: `[batch, keys, kvHeads, valueHeadDim]`.
  public mutating func pack(
    keys: borrowing Tensor<Float>, values: borrowing Tensor<Float>,
    team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    precondition(
      keys.shape == [shape.batch, keyCount, shape.kvHeads, shape.headDim]
        && values.shape == [shape.batch, keyCount, shape.kvHeads, shape.valueHeadDim],
      "keys and values do not have the block's shape")
    let keyRow = shape.kvHeads * shape.headDim
    let valueRow = shape.kvHeads * shape.valueHeadDim
    var row = 0
    for batch in 0..<shape.batch {
      for (run, positions) in runs.enumerated() {
        let end = row + positions.count
        packKeys(
          keys.span.extracting(row * keyRow..<end * keyRow), batch: batch, run: run, from: 0,
          team: team)
        packValues(
          values.span.extracting(row * valueRow..<end * valueRow), batch: batch, run: run, from: 0,
          team: team)
        row = end
      }
    }
  }

  private func checkedRowCount(
    _ rows: borrowing Span<Float>, columns: Int, run: Int, from start: Int
  ) -> Int {
    let rowSize = shape.kvHeads * columns
    precondition(rows.count % rowSize == 0, "not a whole number of rows")
    let count = rows.count / rowSize
    precondition(start >= 0 && start + count <= runs[run].count, "rows outside of the run")
    return count
  }

  /// Packs the rows of one head, in parts that threads take.
  @unsafe
  private func pack(
    _ rows: borrowing Span<Float>, kvHead: Int, rowCount: Int, from start: Int,
    to panels: UnsafeMutableRawPointer, scales: UnsafeMutableRawPointer, _ layout: PanelLayout,
    _ team: ThreadTeam
  ) {
    let stride = shape.kvHeads * layout.headDim
    let elementType = elementType
    unsafe rows.withUnsafeBufferPointer { rows in
      guard let base = rows.baseAddress else { return }
      nonisolated(unsafe) let head = unsafe base + kvHead * layout.headDim
      nonisolated(unsafe) let (panels, scales) = unsafe (panels, scales)
      // A number is rounded and stored by itself, which takes as long as reading many.
      team.forEachPart(of: rowCount, cost: 4 * layout.headDim) { part in
        unsafe layout.scatter(
          rows: head + part.lowerBound * stride, stride: stride, rowCount: part.count,
          from: start + part.lowerBound, as: elementType, to: panels, scales: scales)
      }
    }
  }
}

extension PanelLayout {
  /// Writes rows `start ..< start + rowCount` of the run into their places, rounded as
  /// `elementType` does.
  @unsafe
  fileprivate func scatter(
    rows: UnsafePointer<Float>, stride: Int, rowCount: Int, from start: Int,
    as elementType: WireType, to panels: UnsafeMutableRawPointer,
    scales: UnsafeMutableRawPointer
  ) {
    switch elementType {
    case .f32:
      unsafe scatter(
        rows: rows, stride: stride, rowCount: rowCount, from: start,
        to: panels.assumingMemoryBound(to: Float.self)
      ) { $0 }
    case .f16:
      unsafe scatter(
        rows: rows, stride: stride, rowCount: rowCount, from: start,
        to: panels.assumingMemoryBound(to: Float16.self)
      ) { Float16($0) }
    case .bf16:
      unsafe scatter(
        rows: rows, stride: stride, rowCount: rowCount, from: start,
        to: panels.assumingMemoryBound(to: BFloat16.self)
      ) { BFloat16($0) }
    case .int8:
      for row in 0..<rowCount {
        let source = unsafe rows + row * stride
        let scale = unsafe Int8Row.scale(of: source, count: headDim)
        unsafe scales.storeBytes(
          of: scale, toByteOffset: (start + row) * MemoryLayout<Float>.stride, as: Float.self)
        unsafe scatter(
          rows: source, stride: stride, rowCount: 1, from: start + row,
          to: panels.assumingMemoryBound(to: Int8.self)
        ) { Int8Row.quantised($0, scale: scale) }
      }
    }
  }
}
