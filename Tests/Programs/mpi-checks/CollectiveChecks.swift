import MPI

/// Runs a check with MPI's whole calls, and once more cut into pieces of a few bytes.
private func wholeAndInPieces(
  _ world: borrowing Communicator, _ body: (String) throws -> Void
) throws {
  let limit = world.collectiveChunkBytes
  try body("whole")
  world.collectiveChunkBytes = 24
  try body("in pieces")
  world.collectiveChunkBytes = limit
}

func broadcast(_ check: Check, _ world: borrowing Communicator) throws {
  try wholeAndInPieces(world) { mode in
    for root in 0..<check.size {
      for count in [0, 1, 7, 1_000] {
        let source = (0..<count).map { Int32($0 &* 31 + root) }
        var elements = check.rank == root ? source : [Int32](repeating: -1, count: count)
        try world.broadcast(&elements, from: root)
        try check.expect(elements, equals: source, "broadcast \(mode) of \(count) from \(root)")
      }
      try check.expect(
        try world.broadcast(check.rank == root ? 2.5 : 0, from: root), equals: 2.5,
        "broadcast \(mode) of a value")
    }
  }
}

func reduce(_ check: Check, _ world: borrowing Communicator) throws {
  let ranks = 0..<check.size
  try wholeAndInPieces(world) { mode in
    for count in [0, 1, 10, 5_000] {
      func part(_ rank: Int) -> [Double] { (0..<count).map { Double(rank * 7 + $0) } }
      func sum(_ index: Int) -> Double { ranks.reduce(0) { $0 + part($1)[index] } }
      let sums = count > 10 ? nil : (0..<count).map(sum)
      var elements = part(check.rank)
      try world.allReduce(&elements, with: .sum)
      if let sums { try check.expect(elements, equals: sums, "allReduce \(mode) of \(count)") }
      try check.expect(
        elements.last ?? 0, equals: count == 0 ? 0 : sum(count - 1), "allReduce \(mode), last")

      for root in ranks {
        var elements = part(check.rank)
        try world.reduce(&elements, with: .max, to: root)
        let expected = check.rank == root ? part(check.size - 1) : part(check.rank)
        try check.expect(elements, equals: expected, "reduce \(mode) of \(count) to \(root)")
      }
    }
  }
  try check.expect(
    try world.reduce(check.rank, with: .sum, to: 0),
    equals: check.rank == 0 ? ranks.reduce(0, +) : nil, "reduce of a value")
  try scalars(check, world)
}

/// Every scalar type and every built-in operator.
private func scalars(_ check: Check, _ world: borrowing Communicator) throws {
  func type<T: MPIScalar & Numeric & Comparable>(_: T.Type) throws {
    let mine = T(exactly: check.rank + 1) ?? 0
    try check.expect(
      try world.allReduce(mine, with: .sum), equals: T(exactly: check.size * (check.size + 1) / 2),
      "sum of \(T.self)")
    try check.expect(try world.allReduce(mine, with: .min), equals: 1, "min of \(T.self)")
    try check.expect(
      try world.allReduce(mine, with: .max), equals: T(exactly: check.size), "max of \(T.self)")
    try check.expect(
      try world.allReduce(check.rank < 3 ? mine : 1, with: .product),
      equals: T(exactly: [1, 2, 6][min(check.size, 3) - 1]), "product of \(T.self)")
  }
  func integer<T: MPIScalar & FixedWidthInteger>(_ kind: T.Type) throws {
    try type(kind)
    let bit: T = 1 << T(check.rank % 4)
    let all: T = (0..<check.size).reduce(0) { $0 | 1 << T($1 % 4) }
    try check.expect(try world.allReduce(bit, with: .bitwiseOr), equals: all, "or of \(T.self)")
    try check.expect(
      try world.allReduce(bit | 16, with: .bitwiseAnd), equals: check.size == 1 ? 17 : 16,
      "and of \(T.self)")
    // Bit 4 is set on every rank: "or" would keep it, "exclusive or" does on odd numbers of ranks.
    let xor: T = (0..<check.size).reduce(0) { $0 ^ (16 | 1 << T($1 % 4)) }
    try check.expect(
      try world.allReduce(bit | 16, with: .bitwiseXor), equals: xor, "xor of \(T.self)")
    let isFirst: T = check.rank == 0 ? 5 : 0
    try check.expect(
      try world.allReduce(isFirst, with: .logicalOr), equals: check.size == 1 ? 5 : 1,
      "logical or of \(T.self)")
    try check.expect(
      try world.allReduce(isFirst, with: .logicalAnd), equals: check.size == 1 ? 5 : 0,
      "logical and of \(T.self)")
  }
  try type(Float.self)
  try type(Double.self)
  try integer(Int8.self)
  try integer(Int16.self)
  try integer(Int32.self)
  try integer(Int64.self)
  try integer(Int.self)
  try integer(UInt8.self)
  try integer(UInt16.self)
  try integer(UInt32.self)
  try integer(UInt64.self)
}

func scan(_ check: Check, _ world: borrowing Communicator) throws {
  try wholeAndInPieces(world) { mode in
    for count in [0, 1, 10, 3_000] {
      var elements = (0..<count).map { check.rank + 1 + $0 }
      try world.exclusiveScan(&elements, with: .sum, identity: [0])
      let expected = (0..<count).map { index in
        check.rank * (check.rank + 1) / 2 + check.rank * index
      }
      try check.expect(elements, equals: expected, "exclusive scan \(mode) of \(count)")
    }
  }
  try check.expect(
    try world.exclusiveScan(UInt8(check.rank), with: .max, identity: 99),
    equals: check.rank == 0 ? 99 : UInt8(check.rank - 1), "rank 0 has the identity")
}

func gather(_ check: Check, _ world: borrowing Communicator) throws {
  let ranks = 0..<check.size
  try wholeAndInPieces(world) { mode in
    for root in ranks {
      for count in [0, 1, 5, 40_000] where mode == "whole" || count < 40_000 {
        func part(_ rank: Int) -> [Float] { (0..<count).map { Float(rank * 10 + $0 % 97) } }
        var whole = [Float](repeating: -1, count: check.rank == root ? count * check.size : 0)
        var span = whole.mutableSpan
        try world.gather(part(check.rank).span, into: &span, at: root)
        try check.expect(
          whole, equals: check.rank == root ? ranks.flatMap(part) : [],
          "gather \(mode) of \(count) at \(root)")
      }
      func uneven(_ rank: Int) -> [UInt8] { Array(repeating: UInt8(rank), count: rank * 17 % 40) }
      try check.expect(
        try world.gather(uneven(check.rank), at: root),
        equals: check.rank == root ? ranks.map(uneven) : nil, "uneven gather \(mode) at \(root)")
    }
  }
  // The root expects another size than its neighbour sends: the root is told.
  let group = try world.duplicate()
  guard check.size > 1, check.rank < 2 else { return }
  let counts = ranks.map { $0 == 1 ? 2 : 0 }
  var whole = [Int](repeating: 0, count: check.rank == 0 ? 2 : 0)
  func collect(_ part: [Int]) throws {
    var span = whole.mutableSpan
    try group.gather(part.span, into: &span, counts: counts, at: 0)
  }
  if check.rank == 1 { return try collect([1, 2, 3]) }
  try check.expectError(.truncate, "a part that is larger than its count") { try collect([]) }
}

func allGather(_ check: Check, _ world: borrowing Communicator) throws {
  let ranks = 0..<check.size
  try wholeAndInPieces(world) { mode in
    for count in [0, 1, 33] {
      func part(_ rank: Int) -> [Int16] { (0..<count).map { Int16(rank * 100 + $0) } }
      var whole = [Int16](repeating: -1, count: count * check.size)
      var span = whole.mutableSpan
      try world.allGather(part(check.rank).span, into: &span)
      try check.expect(whole, equals: ranks.flatMap(part), "allGather \(mode) of \(count)")
    }
    try check.expect(
      try world.allGather(Float16(check.rank)), equals: ranks.map { Float16($0) },
      "allGather \(mode) of values")
    func uneven(_ rank: Int) -> [Int] { (0..<(rank * 5) % 7).map { rank * 10 + $0 } }
    try check.expect(
      try world.allGather(uneven(check.rank)), equals: ranks.map(uneven),
      "uneven allGather \(mode)")
    try check.expect(
      try world.allGather([Int]()), equals: ranks.map { _ in [] }, "empty allGather \(mode)")
  }
}

func allToAll(_ check: Check, _ world: borrowing Communicator) throws {
  let ranks = 0..<check.size
  try wholeAndInPieces(world) { mode in
    for count in [0, 1, 50] {
      func part(from: Int, to: Int) -> [Int32] {
        (0..<count).map { Int32(from * 10_000 + to * 100 + $0) }
      }
      let outgoing = ranks.flatMap { part(from: check.rank, to: $0) }
      var incoming = [Int32](repeating: -1, count: outgoing.count)
      var span = incoming.mutableSpan
      try world.allToAll(outgoing.span, into: &span)
      try check.expect(
        incoming, equals: ranks.flatMap { part(from: $0, to: check.rank) },
        "allToAll \(mode) of \(count)")
    }
    // Some pairs have nothing for each other.
    func uneven(from: Int, to: Int) -> [Double] {
      Array(repeating: Double(from * 100 + to), count: (from + 2 * to) % 4 * 9)
    }
    let incoming = try world.allToAll(ranks.map { uneven(from: check.rank, to: $0) })
    try check.expect(
      incoming, equals: ranks.map { uneven(from: $0, to: check.rank) }, "uneven allToAll \(mode)")
  }
  try check.expect(world.traffic, equals: .zero, "collectives are no traffic")
}
