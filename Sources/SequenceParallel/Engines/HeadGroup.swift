import MPI
import Tensors

/// The ranks of a row, which exchange heads.
final class HeadGroup {
  private let group: Communicator
  private let firstRank: Int
  private let timeline: Timeline?
  /// Time spent in exchanges since it was last set to zero.
  var waiting = Duration.zero

  /// Connects the ranks of a row, called by all ranks together.
  init(_ grid: HeadGrid, timeline: Timeline?, on world: borrowing Communicator) throws(MPIError) {
    let (row, column) = grid.place(of: world.rank)
    guard let group = try world.split(color: row, key: column) else {
      preconditionFailure("every rank is in a row")
    }
    self.group = group
    self.timeline = timeline
    firstRank = grid.members(ofRow: row).lowerBound
  }

  var traffic: Traffic { group.traffic }

  /// Whether any rank of the row says so.
  func anyone(_ isSo: Bool) throws(MPIError) -> Bool {
    let start = ContinuousClock.now
    let answer = try group.allReduce(isSo ? 1 : 0, with: .max)
    waiting += ContinuousClock.now - start
    return answer == 1
  }

  /// Gives each rank of the row a part, gets one of each, and waits for the end of it.
  @unsafe
  func exchange(
    _ name: String, sending outgoing: [UnsafeMutableRawBufferPointer],
    receiving incoming: [UnsafeMutableRawBufferPointer]
  ) throws(MPIError) {
    let start = ContinuousClock.now
    let exchange = PeerExchange(name, firstRank: firstRank, timeline: timeline)
    try unsafe exchange.begin(sending: outgoing, receiving: incoming, on: group)
    try group.wait(for: "the exchange of \(name)") { () throws(MPIError) in
      try exchange.isFinished()
    }
    let end = ContinuousClock.now
    waiting += end - start
    timeline?.note(.waiting, "exchange \(name)", from: start, to: end)
  }

  // MARK: Tensors

  /// From a rank's rows of all columns, `[…]` with ``SharedMatrices/partsOfRows(of:)``, to its
  /// columns of all rows.
  func toColumns(
    _ name: String, _ tensor: borrowing Tensor<Float>, _ matrices: SharedMatrices, shape: Shape
  ) throws(MPIError) -> Tensor<Float> {
    try redistribute(
      name, tensor, matrices.partsOfRows(of: group.rank), to: shape,
      matrices.partsOfColumns(of: group.rank))
  }

  /// From a rank's columns of all rows to its rows of all columns.
  func toRows(
    _ name: String, _ tensor: borrowing Tensor<Float>, _ matrices: SharedMatrices, shape: Shape
  ) throws(MPIError) -> Tensor<Float> {
    try redistribute(
      name, tensor, matrices.partsOfColumns(of: group.rank), to: shape,
      matrices.partsOfRows(of: group.rank))
  }

  /// Parts that lie together are sent and received in place, others by way of a copy.
  private func redistribute(
    _ name: String, _ source: borrowing Tensor<Float>, _ sends: [TensorPart], to shape: Shape,
    _ receives: [TensorPart]
  ) throws(MPIError) -> Tensor<Float> {
    let start = ContinuousClock.now
    let target = Tensor<Float>(zeros: shape)
    let outgoing = PartBuffer(sizes: sends.map { $0.isDense ? 0 : $0.byteCount })
    let incoming = PartBuffer(sizes: receives.map { $0.isDense ? 0 : $0.byteCount })
    let (sourceBase, targetBase) = unsafe (source.unsafeBaseAddress, target.unsafeBaseAddress)
    for (index, part) in sends.enumerated() where !part.isDense {
      unsafe part.copy(from: sourceBase, to: outgoing[index])
    }
    waiting += ContinuousClock.now - start
    try unsafe exchange(
      name,
      sending: sends.indices.map {
        unsafe sends[$0].isDense ? sends[$0].bytes(of: sourceBase) : outgoing[$0]
      },
      receiving: receives.indices.map {
        unsafe receives[$0].isDense ? receives[$0].bytes(of: targetBase) : incoming[$0]
      })
    let end = ContinuousClock.now
    for (index, part) in receives.enumerated() where !part.isDense {
      unsafe part.copy(from: incoming[index], to: targetBase)
    }
    waiting += ContinuousClock.now - end
    return target
  }
}

extension TensorPart {
  fileprivate var byteCount: Int { elementCount * MemoryLayout<Float>.stride }

  /// The bytes of a dense part.
  @unsafe
  fileprivate func bytes(of tensor: UnsafeMutablePointer<Float>) -> UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(start: tensor + start, count: byteCount)
  }

  @unsafe
  fileprivate func copy(
    from tensor: UnsafeMutablePointer<Float>, to message: UnsafeMutableRawBufferPointer
  ) {
    let message = unsafe message.assumingMemoryBound(to: Float.self).baseAddress
    guard elementCount > 0, let message = unsafe message else { return }
    for index in 0..<count {
      unsafe (message + index * width).update(from: tensor + start + index * stride, count: width)
    }
  }

  @unsafe
  fileprivate func copy(
    from message: UnsafeMutableRawBufferPointer, to tensor: UnsafeMutablePointer<Float>
  ) {
    let message = unsafe message.assumingMemoryBound(to: Float.self).baseAddress
    guard elementCount > 0, let message = unsafe message else { return }
    for index in 0..<count {
      unsafe (tensor + start + index * stride).update(from: message + index * width, count: width)
    }
  }
}
