// mpi.h, those of its constants that Swift cannot import, and two system calls with variable arguments.
//
// Open MPI writes its predefined handles as casts of the addresses of global objects
// (`((MPI_Comm) &ompi_mpi_comm_world)`). Swift imports a macro only where it is a literal, so each
// such constant that the MPI module uses comes back from a function here. They are
// `static inline`: the module needs no library of its own beside libmpi.

#ifndef GYRE_COPENMPI_SHIM_H
#define GYRE_COPENMPI_SHIM_H

#include <mpi.h>

#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

// The communicator of all ranks, and the handle that a rank outside every colour of a split gets.
static inline MPI_Comm copenmpi_comm_world(void) { return MPI_COMM_WORLD; }
static inline MPI_Comm copenmpi_comm_null(void) { return MPI_COMM_NULL; }

// The handles that mean "nothing here": a finished request's slot becomes the null request.
static inline MPI_Request copenmpi_request_null(void) { return MPI_REQUEST_NULL; }
static inline MPI_Info copenmpi_info_null(void) { return MPI_INFO_NULL; }

// The handler under which a failed call returns its code; MPI's default ends the job instead.
static inline MPI_Errhandler copenmpi_errors_return(void) { return MPI_ERRORS_RETURN; }

// Addresses with a meaning: "the input is where the output goes", and "no status wanted".
static inline void *copenmpi_in_place(void) { return MPI_IN_PLACE; }
static inline MPI_Status *copenmpi_status_ignore(void) { return MPI_STATUS_IGNORE; }

// Element types. The fixed-width names are used throughout: MPI_INT and MPI_LONG change with the
// platform, Swift's Int32 and Int64 do not.
static inline MPI_Datatype copenmpi_byte(void) { return MPI_BYTE; }
static inline MPI_Datatype copenmpi_float(void) { return MPI_FLOAT; }
static inline MPI_Datatype copenmpi_double(void) { return MPI_DOUBLE; }
static inline MPI_Datatype copenmpi_int8(void) { return MPI_INT8_T; }
static inline MPI_Datatype copenmpi_int16(void) { return MPI_INT16_T; }
static inline MPI_Datatype copenmpi_int32(void) { return MPI_INT32_T; }
static inline MPI_Datatype copenmpi_int64(void) { return MPI_INT64_T; }
static inline MPI_Datatype copenmpi_uint8(void) { return MPI_UINT8_T; }
static inline MPI_Datatype copenmpi_uint16(void) { return MPI_UINT16_T; }
static inline MPI_Datatype copenmpi_uint32(void) { return MPI_UINT32_T; }
static inline MPI_Datatype copenmpi_uint64(void) { return MPI_UINT64_T; }

// The types of the library's own parameters, beside those that are literals.
static inline MPI_Datatype copenmpi_char(void) { return MPI_CHAR; }
static inline MPI_Datatype copenmpi_c_bool(void) { return MPI_C_BOOL; }
static inline MPI_Datatype copenmpi_int(void) { return MPI_INT; }
static inline MPI_Datatype copenmpi_unsigned(void) { return MPI_UNSIGNED; }
static inline MPI_Datatype copenmpi_unsigned_long(void) { return MPI_UNSIGNED_LONG; }
static inline MPI_Datatype copenmpi_unsigned_long_long(void) { return MPI_UNSIGNED_LONG_LONG; }
static inline MPI_T_enum copenmpi_enum_null(void) { return MPI_T_ENUM_NULL; }

// Built-in reduction operators.
static inline MPI_Op copenmpi_sum(void) { return MPI_SUM; }
static inline MPI_Op copenmpi_product(void) { return MPI_PROD; }
static inline MPI_Op copenmpi_min(void) { return MPI_MIN; }
static inline MPI_Op copenmpi_max(void) { return MPI_MAX; }
static inline MPI_Op copenmpi_bitwise_and(void) { return MPI_BAND; }
static inline MPI_Op copenmpi_bitwise_or(void) { return MPI_BOR; }
static inline MPI_Op copenmpi_bitwise_xor(void) { return MPI_BXOR; }
static inline MPI_Op copenmpi_logical_and(void) { return MPI_LAND; }
static inline MPI_Op copenmpi_logical_or(void) { return MPI_LOR; }

// Reads another process's memory by the call with which Open MPI copies a message only once. glibc
// declares process_vm_readv to those only who ask for GNU's extensions, which a module cannot.
static inline ssize_t copenmpi_read_memory(pid_t process, uintptr_t address, void *to, size_t count) {
  struct iovec local = {to, count};
  struct iovec remote = {(void *)address, count};
  return syscall(SYS_process_vm_readv, process, &local, 1UL, &remote, 1UL, 0UL);
}

// Has the kernel send this process a signal when the thread that started it ends.
static inline int copenmpi_signal_at_parents_end(int signal) {
  return prctl(PR_SET_PDEATHSIG, (unsigned long)signal);
}

#endif
