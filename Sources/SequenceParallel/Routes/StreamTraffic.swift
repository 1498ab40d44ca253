import MPI

/// What the blocks of one pass cost every rank on their way: an entry for each rank.
package struct StreamTraffic {
  private let hosts: [Int]
  /// What a rank sends.
  private(set) var sent: [Message]
  /// The bytes of it that go to other hosts.
  private(set) var bytesToOtherHosts: [Double]
  /// Messages that have to follow one another.
  package var steps = 0
  /// The memory of blocks, the rank's own included.
  package var blockBytes: [Double]
  /// The memory of results, the rank's own included; that of blocks without results is 0.
  package var resultBytes: [Double]

  /// - Parameter hosts: for each rank, the number of its host.
  package init(hosts: [Int]) {
    self.hosts = hosts
    sent = [Message](repeating: Message(), count: hosts.count)
    bytesToOtherHosts = [Double](repeating: 0, count: hosts.count)
    blockBytes = bytesToOtherHosts
    resultBytes = bytesToOtherHosts
  }

  /// Counts what one rank sends to another.
  package mutating func send(_ message: Message, from rank: Int, to other: Int) {
    sent[rank] += message
    if hosts[rank] != hosts[other] { bytesToOtherHosts[rank] += message.bytes }
  }

  /// Counts the same message to several ranks.
  mutating func send(_ message: Message, times: Int, toOtherHosts: Int, from rank: Int) {
    sent[rank] += message.times(times)
    bytesToOtherHosts[rank] += message.bytes * Double(toOtherHosts)
  }

  /// Counts messages, some of which go to other hosts.
  mutating func send(_ all: Message, toOtherHosts some: Message, from rank: Int) {
    sent[rank] += all
    bytesToOtherHosts[rank] += some.bytes
  }
}

/// Bytes on their way, in how many messages of MPI; or sums of those.
///
/// Bytes are numbers with fractions so that they can be asked for of problems that fit nowhere; up
/// to 2⁵³ they are exact.
package struct Message: Hashable, Sendable {
  var bytes = 0.0
  var messages = 0

  init(bytes: Double = 0, messages: Int = 0) {
    self.bytes = bytes
    self.messages = messages
  }

  /// One transfer, which is none where there are no bytes.
  init(of bytes: Double) {
    self.bytes = bytes
    messages = Communicator.messageCount(forBytes: Int(min(bytes, 0x1p60)))
  }

  /// The transfer of some tokens.
  package init(tokens: Int, bytesPerToken: Int) {
    self.init(of: Double(tokens) * Double(bytesPerToken))
  }

  /// The same several times.
  func times(_ count: Int) -> Message {
    Message(bytes: bytes * Double(count), messages: messages * count)
  }

  static func + (left: Message, right: Message) -> Message {
    Message(bytes: left.bytes + right.bytes, messages: left.messages + right.messages)
  }

  static func - (left: Message, right: Message) -> Message {
    Message(bytes: left.bytes - right.bytes, messages: left.messages - right.messages)
  }

  static func += (left: inout Message, right: Message) { left = left + right }
  static func -= (left: inout Message, right: Message) { left = left - right }
}
