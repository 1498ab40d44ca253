import MPI
import SequenceParallel

/// The wire between some ranks of a job in one process.
final class LoopbackWire: Wire {
  private let job: LoopbackJob
  /// What tells its messages from those of other wires.
  private let name: String
  /// The ranks of the job that it connects.
  private let members: [Int]
  let rank: Int
  private(set) var traffic = Traffic.zero
  private var calls = 0

  let lookInterval = Duration.zero

  private init(_ job: LoopbackJob, name: String, members: [Int], rank: Int) {
    self.job = job
    self.name = name
    self.members = members
    self.rank = rank
  }

  /// All ranks.
  convenience init(_ job: LoopbackJob, rank: Int) {
    self.init(job, name: "all", members: Array(0..<job.ranks), rank: rank)
  }

  var size: Int { members.count }
  private var jobRank: Int { members[rank] }

  // MARK: Messages

  func send(_ piece: Piece, to rank: Int, tag: Int) -> any Shipment {
    traffic.bytesSent += piece.byteCount
    traffic.messagesSent += Communicator.messageCount(forBytes: piece.byteCount)
    return post(piece, from: self.rank, to: rank, tag: tag, isSend: true)
  }

  func receive(into piece: Piece, from rank: Int, tag: Int) -> any Shipment {
    traffic.bytesReceived += piece.byteCount
    traffic.messagesReceived += Communicator.messageCount(forBytes: piece.byteCount)
    return post(piece, from: rank, to: self.rank, tag: tag, isSend: false)
  }

  private func post(_ piece: Piece, from: Int, to: Int, tag: Int, isSend: Bool) -> any Shipment {
    job.mayStep(jobRank)
    let message = LoopbackNetwork.Message(
      LoopbackNetwork.Key(wire: name, from: from, to: to, tag: tag), piece, isSend: isSend,
      isEager: isSend && job.random.next() % 3 == 0, delay: Int(job.random.next() % 12)
    ) { [job, jobRank] in job.mayStep(jobRank) }
    // As with MPI, no bytes are no message.
    if piece.byteCount == 0 { message.isOver = true } else { job.network.post(message) }
    job.noteMovement()
    return message
  }

  func wait(
    for what: @autoclosure () -> String, until isOver: () throws(MPIError) -> Bool
  ) throws(MPIError) {
    while true {
      if job.failure != nil {
        throw MPIError(.other, function: "loopback", "another rank has failed")
      }
      if try isOver() { return job.noteMovement() }
      job.step(jobRank, isWait: what())
    }
  }

  // MARK: What all ranks do together

  /// What each rank gives, by rank, when all have.
  private func gather<Value>(_ value: Value) throws(MPIError) -> [Value] {
    calls += 1
    let key = "\(name)/\(calls)"
    job.gathered[key, default: [:]][rank] = value
    job.noteMovement()
    try wait(for: "all ranks") { self.job.gathered[key]?.count == self.size }
    return (0..<size).compactMap { job.gathered[key]?[$0] as? Value }
  }

  func split(group: Int, member: Int) throws(MPIError) -> any Wire {
    let all = try gather([group, member, jobRank])
    let part = all.filter { $0[0] == group }.sorted { ($0[1], $0[2]) < ($1[1], $1[2]) }.map {
      $0[2]
    }
    return LoopbackWire(
      job, name: "\(name)/\(calls):\(group)", members: part,
      rank: part.firstIndex(of: jobRank) ?? 0)
  }

  func share(byteCount: Int) throws(MPIError) -> any SharedParts {
    Parts(try gather(Part(byteCount: byteCount))) { () throws(MPIError) in
      _ = try self.gather(0)
    }
  }

  func counters(_ count: Int) throws(MPIError) -> any WireCounters {
    Counters(try gather(Counts(count))[0], job, rank: jobRank) { () throws(MPIError) in
      _ = try self.gather(0)
    }
  }

  /// A rank's part of shared memory, with anything in it at first.
  @safe
  private final class Part {
    let memory: UnsafeMutableRawBufferPointer

    init(byteCount: Int) {
      unsafe memory = .allocate(byteCount: byteCount, alignment: 64)
      for index in 0..<byteCount { unsafe memory[index] = LoopbackNetwork.poison }
    }

    deinit { unsafe memory.deallocate() }
  }

  private final class Parts: SharedParts {
    private let parts: [Part]
    private let barrier: () throws(MPIError) -> Void

    init(_ parts: [Part], barrier: @escaping () throws(MPIError) -> Void) {
      self.parts = parts
      self.barrier = barrier
    }

    func unsafeBytes(of rank: Int) -> UnsafeMutableRawBufferPointer { unsafe parts[rank].memory }

    func free() throws(MPIError) { try barrier() }
  }

  private final class Counts {
    var values: [Int]

    init(_ count: Int) { values = [Int](repeating: 0, count: count) }
  }

  private final class Counters: WireCounters {
    private let counts: Counts
    private let job: LoopbackJob
    private let rank: Int
    private let barrier: () throws(MPIError) -> Void

    init(
      _ counts: Counts, _ job: LoopbackJob, rank: Int,
      barrier: @escaping () throws(MPIError) -> Void
    ) {
      self.counts = counts
      self.job = job
      self.rank = rank
      self.barrier = barrier
    }

    func value(_ index: Int) -> Int { counts.values[index] }

    func advance(_ index: Int) {
      job.mayStep(rank)
      counts.values[index] += 1
      job.noteMovement()
      job.mayStep(rank)
    }

    func free() throws(MPIError) { try barrier() }
  }
}
