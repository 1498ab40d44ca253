import FoundationEssentials
import Jobs
import MPI
import Reporting
import SequenceParallel
import Tensors

/// The timelines of all ranks in one file, in the Chrome trace format.
///
/// A process a rank; computing and waiting are tracks, transfers are asynchronous events, which may
/// overlap. Times count from a barrier. The file is small beside the tensors, so rank 0 writes it.
///
/// Source: Trace Event Format, 2016.
enum TraceFile {
  private struct Event: Encodable {
    let name: String
    let ph: String
    let pid: Int
    let tid: Int
    var cat: String?
    var id: Int?
    /// Microseconds.
    var ts: Double?
    var dur: Double?
    var args: [String: String]?
  }

  /// Gathers and writes, called by all ranks together; rank 0 knows the target.
  static func write(
    _ timeline: Timeline, to target: OutputTarget?, on world: borrowing Communicator
  ) throws {
    let own = try JSONEncoder().encode(events(timeline, rank: world.rank))
    let all = try world.gather(Array(own), at: 0)
    try world.agreed {
      guard let all, let target else { return }
      // Each rank's events are an array of JSON; together they are one.
      let inner = all.map { String(decoding: $0.dropFirst().dropLast(), as: UTF8.self) }
      let text = "{\"traceEvents\":[\(inner.joined(separator: ",\n"))]}\n"
      try target.write(Array(text.utf8))
    }
  }

  private static func events(_ timeline: Timeline, rank: Int) -> [Event] {
    var events = [
      Event(
        name: "process_name", ph: "M", pid: rank, tid: 0,
        args: ["name": "rank \(rank) on \(MPIEnvironment.processorName)"])
    ]
    for track in [Timeline.Track.computing, .waiting] {
      events.append(
        Event(
          name: "thread_name", ph: "M", pid: rank, tid: track.rawValue, args: ["name": "\(track)"])
      )
    }
    for (index, span) in timeline.spans.enumerated() {
      let start = span.start * 1e6
      let duration = span.duration * 1e6
      if span.track == .transfers {
        for (phase, time) in [("b", start), ("e", start + duration)] {
          events.append(
            Event(
              name: span.name, ph: phase, pid: rank, tid: span.track.rawValue, cat: "transfers",
              id: rank << 32 | index, ts: time, args: ["bytes": "\(span.bytes)"]))
        }
      } else {
        events.append(
          Event(
            name: span.name, ph: "X", pid: rank, tid: span.track.rawValue, ts: start,
            dur: duration))
      }
    }
    return events
  }
}
