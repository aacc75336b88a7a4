#!/bin/sh
# A command of 2004 under its old name, for scripts that still call it: all of these files are the same, the name decides.
self=$0
if [ -h "$self" ]; then self=$(readlink -f -- "$self"); fi
case $self in */*) folder=${self%/*} ;; *) folder=. ;; esac
name=${self##*/}
exec "$folder/xvd" "--as=${name%.py}" "$@"
