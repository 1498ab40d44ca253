import AttentionTypes
public import Compute
import Tensors

/// Keys and values that lie in pages, in a block that travels, and back out of it as rows.
extension KeyValueBlock {
  /// Copies neighbouring tokens of a page into a run, packed as they are.
  ///
  /// - Parameters:
  ///   - tokens: indices in the page.
  ///   - page: of the same shape and type.
  ///   - layer: of the page.
  ///   - run: the index in ``runs``.
  ///   - start: where in the run the first of them goes.
  /// - Complexity: O(bytes), at the speed of memory where tokens lie as far from the beginning of
  ///   a panel in the run as in the page; shared among the threads.
  public mutating func copy(
    _ tokens: Range<Int>, of page: KeyValuePage, layer: Int, toRun run: Int, from start: Int,
    team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    precondition(
      page.shape == shape && page.elementType == elementType, "a page of another form")
    precondition(
      tokens.lowerBound >= 0 && tokens.upperBound <= page.tokens && start >= 0
        && start + tokens.count <= runs[run].count, "tokens outside of a page or a run")
    let shape = shape
    nonisolated(unsafe) let sources = unsafe page.heads(layer: layer)
    nonisolated(unsafe) let targets = unsafe (0..<shape.kvHeads).map {
      unsafe packedHead(batch: 0, run: run, kvHead: $0)
    }
    team.forEachPart(
      of: shape.kvHeads, cost: tokens.count * (shape.headDim + shape.valueHeadDim)
    ) { heads in
      for head in heads {
        unsafe targets[head].copyKeys(tokens, of: sources[head], to: start, headDim: shape.headDim)
        unsafe targets[head].copyValues(
          tokens, of: sources[head], to: start, headDim: shape.valueHeadDim)
      }
    }
    withExtendedLifetime(page) {}
  }

  /// The key and the value of one token of the only sequence, widened: `[kvHeads, headDim]` and
  /// `[kvHeads, valueHeadDim]`.
  ///
  /// - Parameters:
  ///   - run: the index in ``runs``.
  ///   - token: the index in the run.
  public func row(run: Int, token: Int) -> (key: [Float], value: [Float]) {
    precondition(shape.batch == 1 && runs[run].indices.contains(token), "no such token")
    var (key, value): ([Float], [Float]) = ([], [])
    for kvHead in 0..<shape.kvHeads {
      let head = unsafe packedHead(batch: 0, run: run, kvHead: kvHead)
      let (panel, lane) = token.quotientAndRemainder(dividingBy: PackedPanel.width)
      let width = min(PackedPanel.width, runs[run].count - panel * PackedPanel.width)
      for column in 0..<shape.headDim {
        let index = panel * PackedPanel.width * shape.headDim + column * width + lane
        key.append(unsafe head.number(at: index, of: head.keys, scale: head.keyScales(from: token)))
      }
      for column in 0..<shape.valueHeadDim {
        let first = column / PackedPanel.width * PackedPanel.width
        let width = min(PackedPanel.width, shape.valueHeadDim - first)
        let index = first * runs[run].count + token * width + column - first
        value.append(
          unsafe head.number(at: index, of: head.values, scale: head.valueScales(from: token)))
      }
    }
    return (key, value)
  }
}

extension PackedHead {
  /// A number widened.
  @unsafe
  fileprivate func number(
    at index: Int, of numbers: UnsafeMutableRawPointer, scale: UnsafeRawPointer
  ) -> Float {
    switch unsafe elementType {
    case .f32: unsafe numbers.load(fromByteOffset: 4 * index, as: Float.self)
    case .f16: unsafe Float(numbers.load(fromByteOffset: 2 * index, as: Float16.self))
    case .bf16: unsafe Float(numbers.load(fromByteOffset: 2 * index, as: BFloat16.self))
    case .int8:
      unsafe Float(numbers.load(fromByteOffset: index, as: Int8.self))
        * scale.loadUnaligned(as: Float.self)
    }
  }

  /// Copies keys, which lie in panels of W tokens.
  @unsafe
  fileprivate func copyKeys(
    _ tokens: Range<Int>, of source: PackedHead, to start: Int, headDim: Int
  ) {
    let (panel, bytes) = unsafe (PackedPanel.width, elementType.byteWidth)
    var done = 0
    while done < tokens.count {
      let (from, to) = (tokens.lowerBound + done, start + done)
      let (lane, ownLane) = (from % panel, to % panel)
      // Those of the panel's lanes that there are.
      let width = unsafe min(panel, source.count - (from - lane))
      let ownWidth = unsafe min(panel, count - (to - ownLane))
      let some = min(tokens.count - done, width - lane, ownWidth - ownLane)
      let origin = unsafe source.keys + ((from - lane) * headDim + lane) * bytes
      let target = unsafe keys + ((to - ownLane) * headDim + ownLane) * bytes
      if some == width, some == ownWidth {
        unsafe target.copyMemory(from: origin, byteCount: some * headDim * bytes)
      } else {
        for column in 0..<headDim {
          unsafe (target + column * ownWidth * bytes).copyMemory(
            from: origin + column * width * bytes, byteCount: some * bytes)
        }
      }
      done += some
    }
    if unsafe elementType == .int8 {
      unsafe (scales + 4 * start).copyMemory(
        from: source.keyScales(from: tokens.lowerBound), byteCount: 4 * tokens.count)
    }
  }

  /// Copies values, which lie in panels of W columns.
  @unsafe
  fileprivate func copyValues(
    _ tokens: Range<Int>, of source: PackedHead, to start: Int, headDim: Int
  ) {
    let bytes = unsafe elementType.byteWidth
    for first in stride(from: 0, to: headDim, by: PackedPanel.width) {
      let width = min(PackedPanel.width, headDim - first)
      unsafe (values + (first * count + start * width) * bytes).copyMemory(
        from: source.values + (first * source.count + tokens.lowerBound * width) * bytes,
        byteCount: tokens.count * width * bytes)
    }
    if unsafe elementType == .int8 {
      unsafe (scales + 4 * (count + start)).copyMemory(
        from: source.valueScales(from: tokens.lowerBound), byteCount: 4 * tokens.count)
    }
  }
}
