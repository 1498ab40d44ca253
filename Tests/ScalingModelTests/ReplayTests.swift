import Attention
import ScalingModel
import SequenceParallel
import Sharding
import Testing

/// That the traces for another simulator are complete, and take as long as the prediction says when
/// they are replayed.
@Suite("Traces of the scaling model")
struct ReplayTests {
  @Test(
    "a replay takes what is predicted",
    arguments: [
      (Layout.zigzag, true, 7, 1e6), (.zigzag, true, 7, 1e9), (.contiguous, true, 5, 3e7),
      (.striped, true, 8, 1e7), (.contiguous, false, 6, 2e7), (.contiguous, false, 2, 2e7),
      (.contiguous, false, 1, 1e7),
    ])
  func replay(layout: Layout, isCausal: Bool, ranks: Int, bytesPerSecond: Double) throws {
    let problem = DenseProblem(
      shape: AttentionShape(batch: 1, queryHeads: 4, kvHeads: 4, headDim: 16, valueHeadDim: 16),
      tokens: 4001, layout: layout, pattern: isCausal ? .causal : .full)
    let machines = Cluster(
      kernel: KernelCurve(flopsPerSecond: 1e9),
      network: Link(latency: 1e-3, bytesPerSecond: bytesPerSecond),
      inside: Link(latency: 0, bytesPerSecond: 1e12))
    let replay = Replay(problem, ranks: ranks, route: .ring, on: machines)
    let predicted = machines.predict(
      problem, ranks: ranks, route: .ring, pass: .forward
    ).seconds
    var replayer = Replayer(replay.traces, bytesPerSecond: bytesPerSecond, latency: 1e-3)
    let replayed = try replayer.run()
    #expect(abs(replayed / predicted - 1) < 0.01, "replayed \(replayed), predicted \(predicted)")
  }

  @Test("so it does under a window", arguments: [1e6, 1e9])
  func window(bytesPerSecond: Double) throws {
    let problem = DenseProblem(
      shape: AttentionShape(batch: 1, queryHeads: 4, kvHeads: 4, headDim: 16, valueHeadDim: 16),
      tokens: 4001, layout: .contiguous,
      pattern: PatternChoice([CausalMask(), WindowMask(width: 900), SinkMask(count: 80)]))
    let machines = Cluster(
      kernel: KernelCurve(flopsPerSecond: 1e9),
      network: Link(latency: 1e-3, bytesPerSecond: bytesPerSecond),
      inside: Link(latency: 0, bytesPerSecond: 1e12))
    let replay = Replay(problem, ranks: 7, route: .ring, on: machines)
    let predicted = machines.predict(problem, ranks: 7, route: .ring, pass: .forward).seconds
    var replayer = Replayer(replay.traces, bytesPerSecond: bytesPerSecond, latency: 1e-3)
    let replayed = try replayer.run()
    #expect(abs(replayed / predicted - 1) < 0.01, "replayed \(replayed), predicted \(predicted)")
  }
}

/// A simulator of traces, action by action: sends of a byte take no time, others the link of their
/// sender, one after the other.
private struct Replayer {
  private struct Process {
    var actions: [[Substring]]
    var next = 0
    var time = 0.0
    /// Ends of transfers that were begun.
    var pending: [Int] = []
  }

  private struct Message {
    var sent: (time: Double, bytes: Double)?
    var received: Double?
    var end: Double?
  }

  private struct Channel: Hashable {
    let from: Int
    let to: Int
    let tag: Int
  }

  private let bytesPerSecond: Double
  private let latency: Double
  private var processes: [Process]
  private var messages: [Message] = []
  /// Of each channel, messages in the order of their sends, and of their receives.
  private var order: [Channel: (messages: [Int], sent: Int, received: Int)] = [:]
  private var free: [Int: Double] = [:]

  init(_ traces: [String], bytesPerSecond: Double, latency: Double) {
    self.bytesPerSecond = bytesPerSecond
    self.latency = latency
    processes = traces.map { trace in
      Process(
        actions: trace.split(separator: "\n").map {
          $0.split(separator: " ").dropFirst().map { $0 }
        })
    }
  }

  struct Stuck: Error {}

  mutating func run() throws -> Double {
    var isMoving = true
    while isMoving {
      isMoving = false
      for process in processes.indices {
        while try step(process) { isMoving = true }
      }
    }
    guard processes.allSatisfy({ $0.next == $0.actions.count }) else { throw Stuck() }
    return processes.map(\.time).max() ?? 0
  }

  /// The message of a channel that is sent, or received, next.
  private mutating func message(_ channel: Channel, isSend: Bool) -> Int {
    var state = order[channel] ?? ([], 0, 0)
    let index = isSend ? state.sent : state.received
    if index == state.messages.count {
      state.messages.append(messages.count)
      messages.append(Message())
    }
    if isSend { state.sent += 1 } else { state.received += 1 }
    order[channel] = state
    return state.messages[index]
  }

  private mutating func settle(_ message: Int, from sender: Int) {
    guard messages[message].end == nil, let sent = messages[message].sent,
      let received = messages[message].received
    else { return }
    let start = max(sent.time, received, free[sender] ?? 0)
    let end = start + sent.bytes / bytesPerSecond
    free[sender] = end
    messages[message].end = end + latency
  }

  /// Runs one action of a process; false if it has to wait.
  private mutating func step(_ id: Int) throws -> Bool {
    guard processes[id].next < processes[id].actions.count else { return false }
    let action = processes[id].actions[processes[id].next]
    let time = processes[id].time
    switch action[0] {
    case "init", "finalize": break
    case "compute": processes[id].time += (Double(action[1]) ?? .nan) / 1e9
    case "send":
      let channel = Channel(from: id, to: Int(action[1]) ?? -1, tag: 1)
      messages[message(channel, isSend: true)].end = time
    case "recv":
      let channel = Channel(from: Int(action[1]) ?? -1, to: id, tag: 1)
      let state = order[channel] ?? ([], 0, 0)
      guard state.received < state.sent, let end = messages[state.messages[state.received]].end
      else { return false }
      _ = message(channel, isSend: false)
      processes[id].time = max(time, end)
    case "isend":
      let index = message(Channel(from: id, to: Int(action[1]) ?? -1, tag: 0), isSend: true)
      messages[index].sent = (time, Double(action[3]) ?? .nan)
      processes[id].pending.append(index)
      settle(index, from: id)
    case "irecv":
      let sender = Int(action[1]) ?? -1
      let index = message(Channel(from: sender, to: id, tag: 0), isSend: false)
      messages[index].received = time
      processes[id].pending.append(index)
      settle(index, from: sender)
    case "waitall":
      var latest = time
      for index in processes[id].pending {
        guard let end = messages[index].end else { return false }
        latest = max(latest, end)
      }
      processes[id].pending = []
      processes[id].time = latest
    default: throw Stuck()
    }
    processes[id].next += 1
    return true
  }
}
