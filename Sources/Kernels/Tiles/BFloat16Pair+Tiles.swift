#if GYRE_AMX
  import CInstructions

  /// Products of pairs in tile registers: 32 rows by 32 columns, 16 steps at a time.
  ///
  /// What `tdpbf16ps` computes differs from `vdpbf16ps`: firsts and seconds of pairs are summed by
  /// themselves, so bits are those of this set of instructions alone.
  extension BFloat16Pair {
    @inline(__always) static var groupRows: Int { Int(GYRE_TILES_SIDE) }
    @inline(__always) static var stepRun: Int { Int(GYRE_TILES_PAIRS) }
    @inline(__always) static var softmaxScalesScores: Bool { true }

    @unsafe @inline(__always)
    static func multiply(
      rows: UnsafePointer<BFloat16Pair>, rowStride: Int, runStride: Int,
      panel: UnsafePointer<BFloat16Pair>, steps: Int, scale: Float?,
      to target: UnsafeMutablePointer<Float>, stride: Int, adding: Bool
    ) {
      let (float, pair) = (MemoryLayout<Float>.stride, MemoryLayout<BFloat16Pair>.stride)
      unsafe gyre_tiles_multiply(
        target, stride * float, adding ? 1 : 0, rows, rowStride * pair, runStride * pair, panel,
        steps)
      guard let scale else { return }
      for row in 0..<groupRows {
        for column in Swift.stride(from: 0, to: TileSizes.panelWidth, by: Vector.width) {
          let place = row * stride + column
          unsafe (Vector(loading: target, at: place) * scale).store(to: target, at: place)
        }
      }
    }

    @unsafe @inline(__always)
    static func turn(
      to target: UnsafeMutablePointer<BFloat16Pair>, _ lanes: (_ index: Int) -> VectorBits
    ) {
      for index in 0..<stepRun { unsafe store(lanes(index), to: target, at: index * Vector.width) }
      unsafe gyre_turn(target)
    }

    @inline(__always) static func beginPass() { gyre_tiles_begin() }
    @inline(__always) static func endPass() { gyre_tiles_end() }
  }
#endif
