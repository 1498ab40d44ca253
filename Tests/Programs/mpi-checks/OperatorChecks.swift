import MPI

/// 2 × 2 matrices of integers, row by row: associative, and never commutative by accident.
private typealias Matrix = [Int]

private func matrix(rank: Int, record: Int) -> Matrix {
  [1 + record % 2, rank + 1, record % 3, 1 + rank % 2]
}

private func times(_ a: Matrix, _ b: Matrix) -> Matrix {
  [
    a[0] &* b[0] &+ a[1] &* b[2], a[0] &* b[1] &+ a[1] &* b[3],
    a[2] &* b[0] &+ a[3] &* b[2], a[2] &* b[1] &+ a[3] &* b[3],
  ]
}

private func multiply() throws -> ReductionOperator<Int> {
  try ReductionOperator<Int>(commutes: false, elementsPerRecord: 4) { lower, upper in
    // A record that was split would leave a piece which is no matrix.
    precondition(lower.count == upper.count && lower.count.isMultiple(of: 4))
    for start in stride(from: 0, to: lower.count, by: 4) {
      let product = times(
        [lower[start], lower[start + 1], lower[start + 2], lower[start + 3]],
        [upper[start], upper[start + 1], upper[start + 2], upper[start + 3]])
      for index in 0..<4 { upper[start + index] = product[index] }
    }
  }
}

/// Own operators keep the order of the ranks and never split a record.
func operators(_ check: Check, _ world: borrowing Communicator) throws {
  let multiply = try multiply()
  let limit = world.collectiveChunkBytes
  // 40 bytes hold one record of 32 and a part of the next, 8 not even one.
  for chunkBytes in [limit, 40, 8] {
    world.collectiveChunkBytes = chunkBytes
    for records in [0, 1, 3, 500] where records < 500 || chunkBytes == limit {
      func part(_ rank: Int) -> [Int] {
        (0..<records).flatMap { matrix(rank: rank, record: $0) }
      }
      func product(_ ranks: Range<Int>) -> [Int] {
        (0..<records).flatMap { record in
          ranks.reduce([1, 0, 0, 1]) { times($0, matrix(rank: $1, record: record)) }
        }
      }
      let what = "\(records) matrices, pieces of \(chunkBytes)"
      var elements = part(check.rank)
      try world.allReduce(&elements, with: multiply)
      try check.expect(elements, equals: product(0..<check.size), "allReduce of \(what)")
      for root in 0..<check.size {
        var elements = part(check.rank)
        try world.reduce(&elements, with: multiply, to: root)
        let expected = check.rank == root ? product(0..<check.size) : part(check.rank)
        try check.expect(elements, equals: expected, "reduce of \(what) to \(root)")
      }
      elements = part(check.rank)
      try world.exclusiveScan(&elements, with: multiply, identity: [1, 0, 0, 1])
      try check.expect(elements, equals: product(0..<check.rank), "scan of \(what)")
    }
  }
  world.collectiveChunkBytes = limit
  try structures(check, world)
  try slots(check, world)
}

private struct Extremum: BitwiseCopyable, Equatable {
  var value: Float
  var rank: Int16
}

/// Elements may be any plain structure: here the largest value with the rank that has it.
private func structures(_ check: Check, _ world: borrowing Communicator) throws {
  let largest = try ReductionOperator<Extremum>(commutes: true) { lower, upper in
    for index in lower.indices where lower[index].value >= upper[index].value {
      upper[index] = lower[index]
    }
  }
  let mine = Extremum(value: Float((check.rank * 3) % 8), rank: Int16(check.rank))
  let all = try world.allGather(mine)
  let found = try world.allReduce(mine, with: largest)
  try check.expect(
    found.value, equals: all.map(\.value).reduce(0, max), "the largest of structures")
  try check.expect(all[Int(found.rank)], equals: found, "the rank of the largest")
}

/// The number of own operators is limited, and the end of one makes room for another.
private func slots(_ check: Check, _ world: borrowing Communicator) throws {
  for _ in 0..<40 {
    let sum = try ReductionOperator<Int>(commutes: true) { lower, upper in
      for index in lower.indices { upper[index] += lower[index] }
    }
    try check.expect(try world.allReduce(1, with: sum), equals: check.size, "one of many operators")
  }
  try check.expectError(.operatorSlots, "too many operators") { try nest(depth: 0) }
}

/// Keeps one more operator alive at each depth, until there is no room.
private func nest(depth: Int) throws {
  guard depth < 100 else { return }
  let one = try ReductionOperator<Int>(commutes: true) { _, _ in }
  try nest(depth: depth + 1)
  _ = one.elementsPerRecord
}
