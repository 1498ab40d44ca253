import MPI

/// Attention of the same few queries over the keys of each rank, merged to attention over all of
/// them.
///
/// In log₂P rounds a rank gives `queryHeads · (headDim + 2) · 4` bytes a token, ``PartialRows``, to
/// the rank whose number differs in one bit and gets as many; ranks beyond a power of two give
/// theirs to another before and get the result after. So all ranks get the same.
///
/// Source: Dao et al. 2023, Flash-Decoding.
struct PartialMerge: ~Copyable {
  private let world: Communicator

  /// Connects the ranks, called by all of them together.
  init(on world: borrowing Communicator) throws(MPIError) { self.world = try world.duplicate() }

  /// Bytes that this rank has sent.
  var bytesSent: Int { world.traffic.bytesSent }

  /// Merges what each rank has found, by recursive doubling, called by all ranks together.
  func merge(_ rows: inout PartialRows) throws(MPIError) {
    let (rank, size) = (world.rank, world.size)
    var paired = 1
    while 2 * paired <= size { paired *= 2 }
    if rank >= paired {
      try world.send(rows.records.span, to: rank - paired, tag: 0)
      return try receive(&rows.records, from: rank - paired)
    }
    var others = rows.records
    if rank + paired < size {
      try receive(&others, from: rank + paired)
      rows.merge(others)
    }
    var distance = 1
    while distance < paired {
      try world.send(rows.records.span, to: rank ^ distance, tag: 0)
      try receive(&others, from: rank ^ distance)
      rows.merge(others)
      distance *= 2
    }
    if rank + paired < size { try world.send(rows.records.span, to: rank + paired, tag: 0) }
  }

  private func receive(_ records: inout [Float], from rank: Int) throws(MPIError) {
    var span = records.mutableSpan
    try world.receive(into: &span, from: rank, tag: 0)
  }
}
