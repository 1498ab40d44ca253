import MPI
import Testing

/// A rank that computes looks after its transfers now and then, not between all tiles.
@Suite("Looks after transfers")
struct TransferPollerTests {
  @Test("A poller is due at once, and then every 200 µs however often it is asked")
  func pace() {
    var poller = TransferPoller()
    var looks = 0
    var questions = 0
    let start = ContinuousClock.now
    while questions < 1000 || ContinuousClock.now - start < .milliseconds(2) {
      poller.poll { () throws(MPIError) in looks += 1 }
      questions += 1
    }
    let most = 1 + Int((ContinuousClock.now - start) / .microseconds(200))
    #expect(
      looks >= 2 && looks <= most, "\(looks) looks in \(questions) questions, at most \(most)")
  }

  @Test("A poller that is off never looks")
  func off() {
    var poller = TransferPoller(isOn: false)
    poller.poll { () throws(MPIError) in throw MPIError(.other, function: "MPI_Test", "failed") }
    #expect(throws: Never.self) { try poller.throwFailure() }
  }

  @Test("The first failure is kept until the computation is over")
  func failure() {
    var poller = TransferPoller()
    var looks = 0
    while looks < 2 {
      poller.poll { () throws(MPIError) in
        looks += 1
        throw MPIError(.other, function: "MPI_Test", "look \(looks)")
      }
    }
    #expect {
      try poller.throwFailure()
    } throws: {
      "\($0)".contains("look 1")
    }
  }
}
