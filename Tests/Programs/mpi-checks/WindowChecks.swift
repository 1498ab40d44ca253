import Glibc
import MPI

/// What rank `rank` writes at `index` in round `round`: no two parts or rounds look alike.
private func pattern(_ rank: Int, _ index: Int, _ round: Int) -> UInt8 {
  UInt8(truncatingIfNeeded: 31 * rank + 7 * index + index >> 8 + 101 * round + 1)
}

/// Sizes that end inside a page, on one and past one, and none at all.
private func byteCount(_ rank: Int) -> Int {
  [70_001, 0, 1, 4_096, 8_193, 65_536][rank % 6]
}

extension SharedWindow {
  fileprivate borrowing func fill(_ rank: Int, round: Int) {
    let bytes = unsafe unsafeBytes(of: rank)
    for index in 0..<bytes.count { unsafe bytes[index] = pattern(rank, index, round) }
  }

  fileprivate borrowing func expectPatterns(
    _ check: Check, _ counts: [Int], round: Int
  ) throws {
    for (rank, count) in counts.enumerated() {
      let bytes = unsafe unsafeBytes(of: rank)
      try check.expect(bytes.count, equals: count, "the size of part \(rank)")
      try check.expect(
        UInt(bitPattern: bytes.baseAddress) % UInt(getpagesize()), equals: 0,
        "part \(rank) begins on a page")
      let wrong = bytes.indices.first { unsafe bytes[$0] != pattern(rank, $0, round) }
      try check.expect(wrong, equals: nil, "byte of part \(rank) that differs in round \(round)")
    }
  }
}

/// The ranks of the node share memory, then two halves of them at the same time.
func windows(_ check: Check, _ world: borrowing Communicator) throws {
  // Reversed, so that the ranks of the node are not those of the world.
  let node = try world.splitByNode(key: -world.rank)
  try share(check, node)
  try check.expect(world.traffic, equals: .zero, "shared memory is no traffic of the world")
  guard let half = try node.split(color: node.rank % 2) else { return }
  try share(check, half)
}

/// Every rank writes its part, all read all parts; then each writes the next rank's part.
private func share(_ check: Check, _ node: borrowing Communicator) throws {
  let counts = (0..<node.size).map(byteCount)
  let window = try SharedWindow(byteCount: counts[node.rank], on: node)
  // Another at the same time, in which only the last rank has memory, and one with none at all.
  let lone = try SharedWindow(byteCount: node.rank == node.size - 1 ? 5_000 : 0, on: node)
  let empty = try SharedWindow(byteCount: 0, on: node)
  try check.expect(
    unsafe empty.unsafeBytes(of: node.rank).baseAddress == nil, "no bytes, no address")

  for round in 0..<3 {
    for shift in 0..<2 {
      window.fill((node.rank + shift) % node.size, round: 2 * round + shift)
      if node.rank == 0 { lone.fill(node.size - 1, round: round) }
      try window.synchronize()
      try lone.synchronize()
      try node.barrier()
      try window.synchronize()
      try window.expectPatterns(check, counts, round: 2 * round + shift)
      try lone.expectPatterns(
        check, (0..<node.size).map { $0 == node.size - 1 ? 5_000 : 0 }, round: round)
      try node.barrier()
    }
  }
  try check.expect(node.traffic, equals: .zero, "shared memory is no traffic")
  try lone.free()
  // A window made after another was freed while a third is alive.
  let again = try SharedWindow(byteCount: counts[node.rank], on: node)
  again.fill(node.rank, round: 9)
  try node.barrier()
  try again.expectPatterns(check, counts, round: 9)
  try again.free()
  try empty.free()
  try window.free()
}

/// A part above 2 GiB, where a size in 32 bits would wrap; only its ends are looked at.
func largeWindow(_ check: Check, _ world: borrowing Communicator) throws {
  let node = try world.splitByNode()
  let (size, last) = ((2 << 30) + 12_345, node.size - 1)
  let window = try SharedWindow(byteCount: node.rank == last ? size : 100, on: node)
  let bytes = unsafe window.unsafeBytes(of: last)
  if node.rank == 0 {
    unsafe bytes[0] = 7
    unsafe bytes[size - 1] = 8
  }
  try window.synchronize()
  try node.barrier()
  try window.synchronize()
  try check.expect(
    unsafe [bytes[0], bytes[size - 1]], equals: [7, 8], "the ends of \(size) bytes")
  try window.free()
}

/// Sizes that no machine has are an error of all ranks, after which everything works on.
func noRoom(_ check: Check, _ world: borrowing Communicator) throws {
  let node = try world.splitByNode()
  for size in [Int.max, Int.max / node.size, 1 << 50] {
    for asking in [0, node.size - 1] {
      try check.expectError(.sharedMemory, "\(size) bytes on rank \(asking)") {
        try SharedWindow(byteCount: node.rank == asking ? size : 10, on: node).free()
      }
    }
    try check.expectError(.sharedMemory, "\(size) bytes on all ranks") {
      try SharedWindow(byteCount: size, on: node).free()
    }
  }
  do {
    _ = try SharedWindow(byteCount: 1 << 50, on: node)
  } catch {
    for words in ["needs \(node.size << 30) MiB", "MiB free", "share less"] {
      try check.expect(error.text.contains(words), "the sentence says \(words): \(error)")
    }
  }
  let window = try SharedWindow(byteCount: 10, on: node)
  try node.barrier()
  try window.free()
}

/// Windows that nobody frees end with the program.
func unfreedWindows(_ check: Check, _ world: borrowing Communicator) throws {
  let node = try world.splitByNode()
  for _ in 0..<3 { _ = try SharedWindow(byteCount: 100_000, on: node) }
  _ = try SharedCounters(count: 3, on: node)
}

/// Asks for more than a file system of 24 MiB has, which its test has put in place.
func fullFolder(_ check: Check, _ world: borrowing Communicator) throws {
  let node = try world.splitByNode()
  let total = 20 << 20
  // Almost all of it, so that what follows does not fit.
  let first = try SharedWindow(byteCount: total / node.size, on: node)
  first.fill(node.rank, round: 0)
  do {
    _ = try SharedWindow(byteCount: total / node.size, on: node)
    throw CheckFailure(rank: check.rank, check: "no error where there is no room")
  } catch let error as MPIError {
    try check.expect(error.errorClass, equals: .sharedMemory, "\(error)")
    try check.expect(
      error.text.contains("needs 20 MiB"), "the sentence says what is needed: \(error)")
    if let folder = unsafe getenv("OMPI_MCA_osc_sm_backing_directory") {
      let name = unsafe String(cString: folder)
      try check.expect(error.text.contains("\(name) has 3 MiB free"), "where: \(error)")
    }
  }
  try node.barrier()
  try first.expectPatterns(
    check, .init(repeating: total / node.size, count: node.size), round: 0)
  try first.free()
  let second = try SharedWindow(byteCount: total / node.size, on: node)
  try second.free()
}
