import MPI
import SequenceParallel
import Tensors

/// Blocks that go round: each rank meets the block of every rank, for operators in which every
/// token meets every other.
///
/// While a rank computes with a block it passes it on, and the next one comes: `P − 1` hops, of the
/// blocks of all ranks but the next. Sums of a block, its gradients, follow it a step later, so
/// that they too travel while the next block is computed with; `P` hops bring them home.
///
/// Source: Liu et al. 2023, Ring Attention with Blockwise Transformers, Algorithm 1.
struct Ring {
  /// Floats of the block of each rank.
  let lengths: [Int]

  private static let tag = 4
  private static let sumsTag = 5

  /// A block on its visit to this rank.
  struct Visit {
    /// Whose block it is.
    let owner: Int
    /// Its numbers.
    let block: RingNumbers
    /// Sums that go home with it, zeros so far; nothing where none are asked for.
    let sums: RingNumbers
    fileprivate let moving: [any Shipment]
    /// The ranks.
    let line: RankLine

    /// Computes on all threads, while blocks travel.
    func compute(
      _ count: Int, _ body: @Sendable (_ unit: Int, _ poll: Poll) -> Void
    ) throws(MPIError) {
      try line.compute(count, moving: moving, body)
    }
  }

  /// Meets the blocks of all ranks, called by all of them together.
  ///
  /// - Parameters:
  ///   - own: this rank's block.
  ///   - sums: gets the sums of this rank's block over all ranks; nil asks for none.
  ///   - body: meets a block, this rank's own first.
  func run(
    _ own: MixerTensor, sums: MixerTensor? = nil, on line: RankLine,
    _ body: (Visit) throws(MPIError) -> Void
  ) throws(MPIError) {
    let (ranks, rank) = (line.ranks, line.rank)
    precondition(lengths.count == ranks && own.count == lengths[rank], "a block of each rank")
    let (next, previous) = ((rank + 1) % ranks, (rank + ranks - 1) % ranks)
    let largest = lengths.max() ?? 0
    var slots = [RingNumbers](repeating: .nothing, count: 2)
    var parts = slots
    if ranks > 1 { slots = slots.map { _ in RingNumbers(zeros: largest) } }
    if sums != nil { parts = parts.map { _ in RingNumbers(zeros: largest) } }
    let arriving = ranks > 1 && sums != nil ? RingNumbers(zeros: largest) : .nothing
    var block = unsafe RingNumbers(own)
    // Sums that are on their way out, by the slot in which they are.
    var leaving: [[any Shipment]] = [[], []]
    for step in 0..<ranks {
      let owner = (rank + ranks - step) % ranks
      let coming = (owner + ranks - 1) % ranks
      let slot = slots[step % 2]
      let moving =
        step + 1 < ranks
        ? try pass(block, of: owner, receiving: slot, of: coming, on: line) : []
      let part = parts[step % 2]
      var ofBefore: [any Shipment] = []
      if sums != nil {
        try line.wait(for: "sums to leave", leaving[step % 2])
        part.clear(lengths[owner])
        if step > 0, lengths[owner] > 0 {
          ofBefore.append(
            line.wire.receive(
              into: arriving.piece(lengths[owner]), from: previous, tag: Self.sumsTag))
        }
      }
      let both = leaving[1 - step % 2]
      try body(
        Visit(
          owner: owner, block: block, sums: part, moving: moving + ofBefore + both, line: line))
      if let sums {
        try line.wait(for: "sums of a block", ofBefore)
        if !ofBefore.isEmpty { part.add(arriving, lengths[owner], on: line) }
        if ranks == 1 {
          unsafe sums.base.update(from: part.base, count: sums.count)
        } else if lengths[owner] > 0 {
          leaving[step % 2] = [
            try line.wire.send(part.piece(lengths[owner]), to: next, tag: Self.sumsTag)
          ]
        }
      }
      try line.wait(for: "a block", moving)
      block = slot
    }
    if let sums, ranks > 1 { try takeHome(sums, leaving[0] + leaving[1], on: line) }
  }

  /// Sends a block on, and makes room for the next.
  private func pass(
    _ block: RingNumbers, of owner: Int, receiving slot: RingNumbers, of coming: Int,
    on line: RankLine
  ) throws(MPIError) -> [any Shipment] {
    let (ranks, rank) = (line.ranks, line.rank)
    var moving: [any Shipment] = []
    if lengths[coming] > 0 {
      moving.append(
        line.wire.receive(
          into: slot.piece(lengths[coming]), from: (rank + ranks - 1) % ranks, tag: Self.tag))
    }
    if lengths[owner] > 0 {
      moving.append(
        try line.wire.send(
          block.piece(lengths[owner]), to: (rank + 1) % ranks, tag: Self.tag))
    }
    return moving
  }

  /// Waits for the sums of this rank's block, and until those of others have left.
  private func takeHome(
    _ sums: MixerTensor, _ leaving: [any Shipment], on line: RankLine
  ) throws(MPIError) {
    let (ranks, rank) = (line.ranks, line.rank)
    var last = leaving
    if lengths[rank] > 0 {
      let home = unsafe RingNumbers(sums)
      last.append(
        line.wire.receive(
          into: home.piece(lengths[rank]), from: (rank + ranks - 1) % ranks, tag: Self.sumsTag))
    }
    try line.wait(for: "sums to come home", last)
  }
}

/// Numbers of a block: a rank's own or some on their way, which threads read, and write to disjoint
/// places.
@safe
struct RingNumbers: @unchecked Sendable {
  let base: UnsafeMutablePointer<Float>
  private let count: Int
  /// What keeps the memory.
  private let owner: AnyObject?

  private final class Owner {
    let memory: AlignedBuffer<Float>
    init(_ count: Int) { memory = AlignedBuffer(zeros: count) }
  }

  /// No numbers.
  static var nothing: RingNumbers { RingNumbers(zeros: 0) }

  /// Zeros.
  init(zeros count: Int) {
    let owner = Owner(count)
    unsafe base = owner.memory.unsafeBaseAddress
    self.count = count
    self.owner = owner
  }

  /// Those of a tensor.
  @unsafe
  init(_ tensor: MixerTensor) {
    unsafe base = unsafe tensor.base
    count = tensor.count
    owner = tensor
  }

  /// The first of them as a message.
  fileprivate func piece(_ length: Int) -> Piece {
    precondition(length <= count, "a longer block than there is room for")
    return unsafe Piece(
      unowned: UnsafeMutableRawBufferPointer(
        UnsafeMutableBufferPointer(start: base, count: length)))
  }

  fileprivate func clear(_ length: Int) { unsafe base.update(repeating: 0, count: length) }

  /// Adds the first of others.
  fileprivate func add(_ others: RingNumbers, _ length: Int, on line: RankLine) {
    let part = 1 << 15
    line.compute((length + part - 1) / part) { index, _ in
      for place in index * part..<min((index + 1) * part, length) {
        unsafe base[place] += others.base[place]
      }
    }
  }
}
