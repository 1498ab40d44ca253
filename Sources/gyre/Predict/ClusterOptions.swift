public import ArgumentParser
import Reporting
public import ScalingModel

/// The machines that a prediction is about.
struct ClusterOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      Measured speeds, of gyre bench kernel and gyre bench link in JSON; can be given several \
      times. Numbers given below go first.
      """, valueName: "file"),
    completion: .file(extensions: ["json", "jsonl"]))
  var results: [String] = []

  @Option(
    help: ArgumentHelp(
      "Flops a second of a thread, as 85G. (default: of --results)", valueName: "x"))
  var flops: Speed?

  @Option(
    help: ArgumentHelp(
      "The same of the backward pass. (default: as forward)", valueName: "x"))
  var backwardFlops: Speed?

  @Option(
    help: ArgumentHelp(
      """
      What a host's link carries, as 100gbit or 12.5GB/s. (default: of --results, between hosts or \
      else inside one)
      """, valueName: "x"))
  var network: Rate?

  @Option(
    help: ArgumentHelp(
      "Seconds of a short message between hosts, as 2us. (default: of --results, or else 0)",
      valueName: "t"))
  var networkLatency: Delay?

  @Option(
    help: ArgumentHelp(
      "What two ranks of a host exchange. (default: of --results, or else as --network)",
      valueName: "x"))
  var inside: Rate?

  @Option(
    help: ArgumentHelp(
      """
      Seconds of a short message inside a host. (default: of --results, or else as \
      --network-latency)
      """, valueName: "t"))
  var insideLatency: Delay?

  @Option(
    help: ArgumentHelp(
      """
      Processor time that a byte between hosts costs at each end, as 0.3ns. (default: of \
      --results, or else 0)
      """, valueName: "t"))
  var networkWork: ByteWork?

  @Option(
    help: ArgumentHelp(
      "The same of a byte inside a host. (default: of --results, or else as --network-work)",
      valueName: "t"))
  var insideWork: ByteWork?

  @Option(
    help: ArgumentHelp(
      "Ranks of a host. (default: 1; with --hosts and --ranks as many as it takes)", valueName: "n")
  )
  var ranksPerHost: Int?

  @Option(help: ArgumentHelp("Threads of a rank.", valueName: "n"))
  var threads = 1

  @Option(
    help: ArgumentHelp("Cores of a host. (default: as many as it has threads)", valueName: "n"))
  var coresPerHost: Int?

  @Option(
    help: ArgumentHelp(
      """
      How much longer a core takes when all cores of its host are at work, less one, as 0.3. \
      (default: of --results with --copies, or else 0)
      """, valueName: "x"))
  var crowding: Double?

  @Option(
    help: ArgumentHelp(
      """
      What all cores of a host read from memory together, as 80GB/s. (default: of --results, or \
      else as much as they like)
      """, valueName: "x"))
  var memory: Rate?

  @Flag(help: "All hosts share these cores, as in an emulated cluster.")
  var sharedCores = false

  @Option(help: "How ranks are counted: host by host, or round the hosts.")
  var mapBy = Cluster.Mapping.slot

  @Option(
    help: ArgumentHelp(
      "Standard deviation of the time of a visit, over its mean, as 0.02.", valueName: "x"))
  var noise = 0.0

  @Option(help: ArgumentHelp("Seconds of each pass besides, as 5ms.", valueName: "t"))
  var startUp = Delay(0)

  func validate() throws {
    for (name, value) in [
      ("--ranks-per-host", ranksPerHost ?? 1), ("--threads", threads),
      ("--cores-per-host", coresPerHost ?? 1),
    ] where !(1...1_000_000).contains(value) {
      throw ValidationError("\(name) is \(value); give a number from 1 to 1,000,000.")
    }
    guard noise.isFinite, (0...1).contains(noise) else {
      throw ValidationError("--noise is \(noise); give a number from 0 to 1.")
    }
    if let crowding, !(0...10).contains(crowding) {
      throw ValidationError("--crowding is \(crowding); give a number from 0 to 10.")
    }
    guard backwardFlops == nil || flops != nil else {
      throw ValidationError("--backward-flops belongs to --flops; give both.")
    }
    let speed = { "\(threeDigits($0)) flops a second" }
    try flops?.requirePlausible("--flops", speed)
    try backwardFlops?.requirePlausible("--backward-flops", speed)
    let rate = { "\(threeDigits($0)) bytes a second" }
    try network?.requirePlausible("--network", rate)
    try inside?.requirePlausible("--inside", rate)
    try memory?.requirePlausible("--memory", rate)
    try networkLatency?.requirePlausible("--network-latency", formatSeconds)
    try insideLatency?.requirePlausible("--inside-latency", formatSeconds)
    try networkWork?.requirePlausible("--network-work", formatSeconds)
    try insideWork?.requirePlausible("--inside-work", formatSeconds)
    try startUp.requirePlausible("--start-up", formatSeconds)
  }
}

extension Cluster.Mapping: ExpressibleByArgument {}
