extension DilatedSampleCheck {
  /// The ends of the sequence, what branches select at its end, and rows by a hash.
  static func choose(
    rows: Int, branches: [Branch], batch: Int, tokens: Int, heads: Int, seed: UInt64
  ) -> [Sample] {
    if batch * tokens <= rows {
      return (0..<batch).flatMap { batch in
        (0..<tokens).map { Sample(batch: batch, position: $0) }
      }
    }
    // SplitMix64.
    var state = seed
    func next(below bound: Int) -> Int {
      state &+= 0x9E37_79B9_7F4A_7C15
      var word = (state ^ state >> 30) &* 0xBF58_476D_1CE4_E5B9
      word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
      return Int((word ^ word >> 31) % UInt64(bound))
    }
    /// The last row at or before a position that a branch selects in the segment there.
    func selected(_ position: Int, _ branch: Branch, head: Int) -> Int? {
      let start = position / branch.length * branch.length
      let distance = position - start - branch.offsets[head]
      return distance < 0
        ? nil : start + branch.offsets[head] + distance / branch.rate * branch.rate
    }
    var positions: [Int] = [0, tokens - 1]
    positions += branches.compactMap { selected(tokens - 1, $0, head: heads - 1) }
    positions += branches.flatMap { branch in
      let border = (tokens - 1) / branch.length * branch.length
      return [border, border - 1].filter { $0 >= 0 }
    }
    var chosen: Set<Sample> = []
    for position in positions.prefix(rows * 3 / 4) {
      chosen.insert(Sample(batch: next(below: batch), position: position))
    }
    var draws = 0
    while chosen.count < rows {
      draws += 1
      let position = next(below: tokens)
      let branch = branches[next(below: branches.count)]
      let head = next(below: heads)
      chosen.insert(
        Sample(
          batch: next(below: batch),
          position: draws % 3 == 0
            ? position : selected(position, branch, head: head) ?? position))
    }
    return chosen.sorted { ($0.position, $0.batch) < ($1.position, $1.batch) }
  }
}
