drop sequence relay_listens;
