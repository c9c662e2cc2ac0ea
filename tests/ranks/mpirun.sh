#!/bin/sh
# Starts a program as so many ranks on this machine, for tests: mpirun.sh RANKS PROGRAM [ARGUMENT…]
# There may be more ranks than cores, in a container whose only user is root. Open MPI frees not all it takes.
ranks=$1
shift
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"
exec mpirun -n "$ranks" --oversubscribe --bind-to none --mca btl self,vader,tcp --mca mpi_yield_when_idle 1 "$@"
